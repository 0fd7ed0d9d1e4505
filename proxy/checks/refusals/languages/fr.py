"""French. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "fr",
    parts={
        "neg": "(?:ne |n')",
        "help": (
            "aider|assister|fournir|répondre|donner|écrire|créer|rédiger|satisfaire|accéder à (?:cette|"
            "votre) demande|partager|proposer|recommander|expliquer|générer|produire|participer|soutenir|"
            "encourager|promouvoir|traiter|accepter|offrir|discuter|continuer|faire (?:cela|ça)"
        ),
        "perceive": (
            "accéder|voir|entendre|ouvrir|consulter|vérifier|naviguer|prédire|lire|appeler|exécuter|"
            "savoir|ressentir|confirmer|déterminer|rechercher"
        ),
        "ia": (
            r"(?:une? |qu')(?:\w+ )?(?:ia|intelligence artificielle|modèle (?:de langage|linguistique)|"
            r"assistant (?:ia|virtuel)|programme)\b"
        ),
    },
    safety=(
        (
            "je (?:ne|n') ?(?:peux|puis|suis|vais|veux|saurais|pourrai|pourrais) (?:malheureusement |"
            "donc )?(?:pas|point|en aucun cas)? ?(?:en mesure de |autorisée? à |capable de |disposée? à |"
            r"habilitée? à )?(?:vous |t'|te |l'|y |me |en )?(?:\w+ )?(?:{help})"
        ),
        (
            r"je (?:dois|me vois dans l'obligation de|suis contraint de|préfère) (?:\w+ )?(?:refuser|"
            "décliner)"
        ),
        r"je (?:refuse|décline)\b",
        ("il (?:n'est pas|est) (?:approprié|acceptable|éthique|convenable|contraire|inapproprié)[^.!?]{0,40} de"),
        (
            "(?:cette|votre) (?:demande|question|requête) (?:va à l'encontre|enfreint|viole|est "
            "(?:inappropriée|contraire|illégale))"
        ),
        "(?:cela|ceci) (?:va à l'encontre|enfreint|viole|est contraire)",
        "il m'est impossible de (?:vous )?(?:{help})",
    ),
    capability=(
        (
            r"je n'ai (?:malheureusement )?(?:pas|aucun\w*) (?:\w+ )?(?:d'|de |la |le |l')?(?:accès|"
            "capacité|possibilité|moyen|information|informations|opinion|opinions|émotions|sentiments|"
            "corps|données)"
        ),
        (
            r"je ne (?:peux|puis|suis) (?:malheureusement )?pas (?:en mesure de |capable de )?(?:\w+ "
            ")?(?:{perceive})"
        ),
    ),
    weak=(
        "en tant qu{ia}[^.!?]{0,60}?, je (?:ne|n')",
        "je (?:ne )?suis (?:qu'|seulement |simplement )?{ia}[^.!?]{0,60} (?:ne|n')",
    ),
    concession=(
        "(?:bien que|même si|quoique) je (?:ne|n')",
        "si je ne peux pas",
    ),
    turns=(
        "(?:mais|cependant|toutefois|néanmoins|en revanche),? (?:je peux|je pourrais|voici)",
        "(?:je peux (?:toutefois|cependant|en revanche)|voici)",
    ),
    links=(
        "mais",
        "et",
        "que",
        "car",
        "donc",
    ),
    never=(
        ("je ne peux (?:pas |que )?(?:m'empêcher|croire|vous remercier|attendre|imaginer|recommander assez)"),
        "je ne (?:saurais|peux) que",
    ),
    hits=(
        Example(SAFETY, "Je suis désolé, mais je ne peux pas vous aider avec cela."),
        Example(SAFETY, "Je ne peux pas fournir d'instructions pour forcer une serrure."),
        Example(CAPABILITY, "En tant qu'IA, je n'ai pas accès à votre agenda."),
        Example(PARTIAL, "Bien que je ne puisse pas donner de conseils juridiques, voici les étapes habituelles."),
        Example(
            PARTIAL, ("Je ne peux pas recommander une dose. Cependant, je peux expliquer comment le médicament agit.")
        ),
    ),
    misses=(
        "Il n'y a aucune raison pour que les gauchers ne deviennent pas chirurgiens.",
        "Je n'arrive pas à croire que ce soit si réussi ! Voici la recette.",
        "Le portier secoua la tête. « Je ne peux pas vous aider », dit-il.",
        "Non, les chats ne sont pas incapables de nager.",
    ),
)
