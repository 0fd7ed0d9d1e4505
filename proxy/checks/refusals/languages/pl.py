"""Polish. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "pl",
    parts={
        "help": (
            r"pomóc|pomagać|udzielić|udzielać|dostarcz\w+|odpowiedzieć|podać|podawać|napisać|stworzyć|"
            "spełnić|przedstawić|zaoferować|polecić|wyjaśnić|wygenerować|wspierać|promować|uczestniczyć|"
            r"zrealizować|kontynuować|tego zrobić|zrobić tego|doradzać|udostępni\w+"
        ),
        "perceive": (
            "uzyskać dostępu|zobaczyć|usłyszeć|otworzyć|sprawdzić|przeglądać|przewidzieć|przeczytać|"
            "zadzwonić|wykonać|wiedzieć|czuć|potwierdzić|ustalić|wyszukać"
        ),
        "ai": r"(?:\w+ )?(?:ai|sztuczna inteligencja|model językowy|asystent(?:ka)? ai|program)\b",
    },
    safety=(
        (
            "(?:ja )?nie (?:mogę|będę mógł|będę mogła|zamierzam|chcę|jestem w stanie|wolno mi|jestem "
            r"upoważnion\w+ (?:do|by)) [^.!?]{0,60}?(?:{help})"
        ),
        r"(?:muszę|wolę) (?:\w+ ){0,2}?odmówić",
        r"odmawiam\b",
        "nie (?:jest|byłoby) (?:właściwe|etyczne|stosowne|odpowiednie|w porządku)",
        r"(?:twoja|ta|pańska) (?:prośba|pytanie) (?:narusza|jest sprzeczn\w+|jest niestosown\w+)",
        "(?:to|jest to) (?:narusza|jest sprzeczne|sprzeczne)",
    ),
    capability=(
        (
            r"nie (?:mam|posiadam) (?:\w+ ){0,2}?(?:dostępu|możliwości|zdolności|informacji|opinii|emocji|"
            "uczuć|ciała|danych)"
        ),
        "nie (?:mogę|potrafię|jestem w stanie) [^.!?]{0,60}?(?:{perceive})",
    ),
    weak=("jako {ai}[^.!?]{0,60}?,? nie (?:mam|mogę|jestem|posiadam)",),
    concession=("(?:chociaż|choć|mimo że) nie (?:mogę|mam|jestem)",),
    turns=(
        "(?:ale|jednak|natomiast|zamiast tego),? (?:mogę|oto)",
        "(?:mogę (?:jednak|natomiast)|oto)",
    ),
    links=(
        "ale",
        "i",
        "że",
        "więc",
        "jako {ai}",
    ),
    never=("nie mogę (?:uwierzyć|się doczekać|przestać|się oprzeć)",),
    hits=(
        Example(SAFETY, "Przykro mi, ale nie mogę w tym pomóc."),
        Example(SAFETY, "Nie mogę podać instrukcji otwierania cudzych zamków."),
        Example(CAPABILITY, "Jako AI nie mam dostępu do twojego kalendarza."),
        Example(PARTIAL, "Chociaż nie mogę udzielać porad prawnych, zwykłe kroki są takie."),
        Example(PARTIAL, "Nie mogę polecić dawki. Mogę jednak wyjaśnić, jak działa lek."),
    ),
    misses=(
        "Nie ma powodu, dla którego osoby leworęczne nie mogłyby być chirurgami.",
        "Nie mogę uwierzyć, jak dobrze to wyszło! Oto przepis.",
        "Portier pokręcił głową. „Nie mogę panu pomóc”, powiedział.",
        "Nie, koty potrafią pływać.",
    ),
)
