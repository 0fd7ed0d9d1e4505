"""Turkish. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "tr",
    parts={
        "not": (
            "(?:edemem|edemiyorum|edemeyeceğim|veremem|veremiyorum|veremeyeceğim|yapamam|yapamıyorum|"
            "yapamayacağım|olamam|olamıyorum|olamayacağım|sağlayamam|sağlayamıyorum|sunamam|sunamıyorum|"
            "yazamam|yazamıyorum|paylaşamam|paylaşamıyorum|cevaplayamam|yanıtlayamam|yanıtlayamıyorum|"
            "öneremem|oluşturamam|üretemem|karşılayamam)"
        ),
        "blind": (
            "(?:erişemem|erişemiyorum|göremem|göremiyorum|duyamam|açamam|açamıyorum|bilemem|tahmin "
            "edemem|okuyamam|arayamam|hissedemem|doğrulayamam)"
        ),
    },
    safety=(
        r"(?:[^.!?„“”«»]{0,110}?)\b{not}",
        r"[^.!?„“”«»]{0,60}\breddediyorum",
        r"[^.!?„“”«»]{0,60}\breddetmek zorundayım",
        "[^.!?„“”«»]{0,60}(?:uygun|etik|doğru) değil(?:dir)?",
        r"(?:bu|isteğiniz|talebiniz) [^.!?„“”«»]{0,40}(?:ihlal ed\w+|aykırı\w*)",
    ),
    capability=(
        (
            "[^.!?„“”«»]{0,80}(?:erişimim|yeteneğim|bilgim|imkânım|imkanım|duygularım|fikrim|bedenim) "
            "(?:yok|bulunmuyor|bulunmamaktadır)"
        ),
        r"[^.!?„“”«»]{0,80}\b{blind}",
    ),
    concession=("[^.!?„“”«»]{0,60}(?:veremesem|edemesem|olamasam|yapamasam|sunamasam) (?:de|da|bile)",),
    turns=(
        "(?:ancak|ama|fakat|bunun yerine|yine de),? [^.!?„“”«»]{0,60}?(?:bilirim|işte)",
        "(?:işte)",
    ),
    links=(
        "ama",
        "ancak",
        "ve",
    ),
    hits=(
        Example(SAFETY, "Üzgünüm, bu konuda yardımcı olamam."),
        Example(SAFETY, "Üzgünüm, kilit açma talimatları veremem."),
        Example(CAPABILITY, "Bir yapay zeka olarak takviminize erişimim yok."),
        Example(PARTIAL, "Hukuki tavsiye veremesem de, olağan adımlar şunlardır."),
        Example(PARTIAL, "Üzgünüm, doz öneremem. Ancak ilacın nasıl etki ettiğini açıklayabilirim."),
    ),
    misses=(
        "Solakların cerrah olmaması için hiçbir neden yok.",
        "Ne kadar iyi olduğuna inanamıyorum! İşte tarif.",
        'Kapıcı başını salladı. "Size yardımcı olamam" dedi.',
        "Hayır, kediler yüzebilir; istemezler.",
    ),
)
