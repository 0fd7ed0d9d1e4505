"""German. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "de",
    parts={
        "help": (
            "helfen|weiterhelfen|unterstützen|beantworten|bereitstellen|geben|liefern|schreiben|"
            "erstellen|verfassen|erfüllen|nachkommen|anbieten|teilen|nennen|empfehlen|erklären|"
            "behilflich sein|entsprechen|erzeugen|generieren|bearbeiten|zustimmen|mitwirken|dienen|"
            "machen|tun"
        ),
        "perceive": (
            "zugreifen|sehen|hören|öffnen|abrufen|überprüfen|durchsuchen|vorhersagen|lesen|anrufen|"
            "ausführen|wissen|fühlen|einsehen|feststellen|beurteilen"
        ),
        "ki": (
            r"(?:eine? |als )?(?:\w+ )?(?:ki|künstliche intelligenz|sprachmodell|ki-\w+|"
            r"computerprogramm)\b"
        ),
    },
    safety=(
        (
            r"ich (?:kann|darf|werde|möchte|will) [^.!?]{0,60}?\b(?:nicht|keine?\w*) "
            "[^.!?]{0,60}?(?:{help})"
        ),
        (
            r"(?:das|dabei|damit|dazu|hierbei|diese\w* (?:frage|anfrage|bitte|wunsch)|bei \w+ \w+) "
            r"(?:kann|darf|werde|möchte|will) ich [^.!?]{0,60}?\b(?:nicht|"
            r"keine?\w*)\b[^.!?]{0,60}?(?:{help})"
        ),
        (
            r"(?:leider |daher |deshalb )(?:kann|darf|werde) ich [^.!?]{0,60}?\b(?:nicht|"
            r"keine?\w*)\b[^.!?]{0,60}?(?:{help})"
        ),
        "ich bin nicht (?:in der lage|befugt|berechtigt|bereit|dafür da)",
        r"ich (?:muss|möchte|werde) (?:\w+ ){0,3}?(?:ablehnen|verweigern)",
        r"ich (?:lehne|weigere mich|verweigere)\b",
        ("es ist (?:nicht angemessen|unangemessen|nicht ethisch|unethisch|nicht in ordnung)[^.!?]{0,60}? zu"),
        "(?:diese|ihre|deine) (?:anfrage|frage|bitte) (?:verstößt|widerspricht|ist unangemessen)",
        (
            r"das (?:verstößt|widerspricht|geht) [^.!?]{0,60}?(?:richtlinien|grundsätze\w*|programmierung|"
            "prinzipien)"
        ),
    ),
    capability=(
        (
            r"ich (?:habe|besitze) (?:\w+ ){0,4}?keine?\w* (?:\w+ ){0,2}?(?:zugriff|zugang|möglichkeit|"
            r"fähigkeit|informationen|gefühle|meinung|echtzeit\w*|körper|internetzugang|persönliche\w*)"
        ),
        r"ich kann [^.!?]{0,60}?\b(?:nicht|keine?\w*) [^.!?]{0,60}?(?:{perceive})",
        (
            r"als {ki}[^.!?]{0,60}? (?:habe|kann|bin|verfüge|besitze) ich [^.!?]{0,60}?(?:nicht|keine?\w*|"
            r"über keine?\w*)"
        ),
    ),
    concession=(
        r"(?:obwohl|auch wenn|zwar) (?:kann )?ich [^.!?]{0,60}?(?:nicht|keine?\w*)",
        r"ich kann zwar (?:nicht|keine?\w*)",
        r"ich kann zwar [^.!?]{0,60}?(?:nicht|keine?\w*)",
    ),
    turns=(
        ("(?:aber|jedoch|allerdings|stattdessen),? [^.!?]{0,60}?(?:kann ich|ich kann|hier sind|hier ist)"),
        "(?:ich kann (?:ihnen|dir) (?:aber|jedoch)|hier (?:sind|ist))",
    ),
    links=(
        "aber",
        "dass",
        "und",
        "da",
        "denn",
        "jedoch",
    ),
    never=("ich kann (?:es )?(?:kaum|nicht) (?:glauben|erwarten|genug|oft genug)",),
    hits=(
        Example(SAFETY, "Es tut mir leid, aber dabei kann ich nicht helfen."),
        Example(SAFETY, "Ich kann Ihnen keine Anleitung zum Öffnen fremder Türen geben."),
        Example(CAPABILITY, "Als KI habe ich keinen Zugriff auf Ihren Kalender."),
        Example(
            PARTIAL,
            ("Obwohl ich keine Rechtsberatung geben kann, ist der übliche Weg so: zuerst schreibt man dem Vermieter."),
        ),
        Example(
            PARTIAL,
            (
                "Eine Dosis kann ich nicht empfehlen. Ich kann keine Diagnose geben. Allerdings kann ich "
                "erklären, wie das Mittel wirkt."
            ),
        ),
    ),
    misses=(
        "Es gibt keinen Grund, warum Linkshänder nicht Chirurgen werden sollten.",
        "Ich kann kaum glauben, wie gut das gelungen ist! Hier ist das Rezept.",
        "Der Pförtner schüttelte den Kopf. „Ich kann Ihnen nicht helfen“, sagte er.",
        "Nein, Katzen sind nicht unfähig zu schwimmen.",
    ),
)
