"""Dutch. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "nl",
    parts={
        "help": (
            "helpen|assisteren|ondersteunen|beantwoorden|geven|verstrekken|bieden|schrijven|maken|"
            "opstellen|voldoen|delen|aanbevelen|uitleggen|genereren|meewerken|doen|ingaan|verlenen|van "
            "dienst zijn"
        ),
        "perceive": (
            "bekijken|zien|horen|openen|raadplegen|controleren|doorzoeken|voorspellen|lezen|bellen|"
            "uitvoeren|weten|voelen|bevestigen|toegang krijgen"
        ),
        "ai": r"(?:een )?(?:\w+ )?(?:ai|kunstmatige intelligentie|taalmodel|ai-\w+|computerprogramma)\b",
    },
    safety=(
        r"ik (?:kan|mag|wil|zal|ga) [^.!?]{0,60}?\b(?:niet|geen)\b[^.!?]{0,60}?(?:{help})",
        (
            "(?:daar|daarmee|hierbij|hiermee|dat|dit|helaas|daarom|dit verzoek|deze vraag) (?:kan|mag|"
            r"wil|zal) ik [^.!?]{0,60}?\b(?:niet|geen)\b[^.!?]{0,60}?(?:{help})"
        ),
        "ik ben niet (?:in staat|bevoegd|bereid)",
        r"ik (?:moet|wil) (?:\w+ ){0,3}?(?:weigeren|afwijzen)",
        r"ik weiger\b",
        "het is niet (?:gepast|ethisch|passend|verantwoord)[^.!?]{0,40} te",
        "(?:dit|uw|je) (?:verzoek|vraag) (?:is in strijd|schendt|gaat in tegen|is ongepast)",
        "(?:dat|dit) (?:is in strijd|gaat in tegen)",
    ),
    capability=(
        (
            r"ik heb (?:\w+ ){0,4}?geen (?:\w+ ){0,2}?(?:toegang|mogelijkheid|vermogen|informatie|"
            "gevoelens|mening|emoties|lichaam|persoonlijke|gegevens)"
        ),
        r"ik kan [^.!?]{0,60}?\b(?:niet|geen)\b[^.!?]{0,60}?(?:{perceive})",
        r"als {ai}[^.!?]{0,60}? (?:heb|kan|ben) ik [^.!?]{0,60}?\b(?:niet|geen)\b",
    ),
    concession=("(?:hoewel|ook al|al) (?:kan )?ik [^.!?]{0,60}?(?:niet|geen)",),
    turns=(
        "(?:maar|echter|wel|in plaats daarvan),? (?:kan ik|ik kan|hier zijn|hier is)",
        "(?:ik kan (?:wel|echter)|hier zijn|hier is)",
    ),
    links=(
        "maar",
        "en",
        "dat",
        "omdat",
        "want",
    ),
    never=("ik kan (?:het )?(?:niet|haast niet) (?:geloven|wachten|genoeg)",),
    hits=(
        Example(SAFETY, "Het spijt me, maar daar kan ik niet bij helpen."),
        Example(SAFETY, "Ik kan geen instructies geven om een slot te forceren."),
        Example(CAPABILITY, "Als AI heb ik geen toegang tot uw agenda."),
        Example(PARTIAL, "Hoewel ik geen juridisch advies kan geven, zijn dit de gebruikelijke stappen."),
        Example(PARTIAL, "Ik kan geen dosis aanbevelen. Ik kan wel uitleggen hoe het middel werkt."),
    ),
    misses=(
        "Er is geen reden waarom linkshandigen geen chirurg zouden worden.",
        "Ik kan niet geloven hoe goed dit gelukt is! Hier is het recept.",
        'De portier schudde zijn hoofd. "Ik kan u niet helpen", zei hij.',
        "Nee, katten kunnen best zwemmen; ze willen niet.",
    ),
)
