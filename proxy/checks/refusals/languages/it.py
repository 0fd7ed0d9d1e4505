"""Italian. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "it",
    parts={
        "help": (
            r"aiutar\w*|assister\w*|fornir\w*|risponder\w*|dar\w*|scriver\w*|crear\w*|soddisfar\w*|"
            r"condivider\w*|offrir\w*|consigliar\w*|spiegar\w*|generar\w*|produrr\w*|partecipar\w*|"
            r"sostener\w*|promuover\w*|accettar\w*|discuter\w*|continuar\w*|farlo|fare questo|esaudir\w*"
        ),
        "perceive": (
            r"acceder\w*|veder\w*|sentir\w*|aprir\w*|consultar\w*|verificar\w*|navigar\w*|preveder\w*|"
            r"legger\w*|chiamar\w*|eseguir\w*|saper\w*|provar\w*|confermar\w*|determinar\w*|cercar\w*"
        ),
        "ia": (
            r"(?:un'|una? )?(?:\w+ )?(?:ia|ai|intelligenza artificiale|modello (?:linguistico|di "
            r"linguaggio)|assistente (?:ia|virtuale)|programma)\b"
        ),
    },
    safety=(
        (
            "(?:io )?non (?:posso|potrò|potrei|intendo|voglio|sono (?:in grado di|autorizzat[oa] a|"
            r"dispost[oa] a)|mi è possibile) (?:\w+ )?(?:{help})"
        ),
        r"(?:devo|preferisco) (?:\w+ )?(?:rifiutar\w*|declinar\w*)",
        "mi rifiuto di",
        r"non (?:è|sarebbe) (?:appropriato|etico|corretto|opportuno|accettabile)[^.!?]{0,30} \w+re",
        ("(?:la tua|la sua|questa) (?:richiesta|domanda) (?:va contro|viola|è (?:inappropriata|illegale))"),
        "(?:ciò|questo) (?:va contro|viola|è contrario)",
    ),
    capability=(
        (
            r"non (?:ho|dispongo di|possiedo) (?:\w+ )?(?:accesso|la capacità|capacità|la possibilità|"
            "informazioni|opinioni|emozioni|sentimenti|corpo|dati)"
        ),
        r"non (?:posso|sono in grado di) (?:\w+ )?(?:{perceive})",
    ),
    weak=("(?:come|in quanto) {ia}[^.!?]{0,60}?,? non (?:ho|posso|sono)",),
    concession=("(?:anche se|sebbene|benché|pur) non (?:posso|possa|ho|sono|potendo)",),
    turns=(
        "(?:ma|tuttavia|però|invece),? (?:posso|potrei|ecco)",
        "(?:posso (?:però|tuttavia|invece)|ecco)",
    ),
    links=(
        "ma",
        "e",
        "che",
        "perché",
    ),
    never=(r"non posso (?:creder\w*|fare a meno|aspettare|immaginar\w*|ringraziar\w*|che)",),
    hits=(
        Example(SAFETY, "Mi dispiace, ma non posso aiutarti con questo."),
        Example(SAFETY, "Non posso fornire istruzioni per forzare una serratura."),
        Example(CAPABILITY, "Come IA, non ho accesso al tuo calendario."),
        Example(PARTIAL, "Anche se non posso dare consigli legali, i passi abituali sono questi."),
        Example(PARTIAL, "Non posso consigliare una dose. Tuttavia, posso spiegare come agisce il farmaco."),
    ),
    misses=(
        "Non c'è motivo per cui i mancini non debbano diventare chirurghi.",
        "Non posso credere a quanto sia riuscito bene! Ecco la ricetta.",
        "Il portiere scosse la testa. «Non posso aiutarla», disse.",
        "No, i gatti non sono incapaci di nuotare.",
    ),
)
