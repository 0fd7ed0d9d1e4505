"""Spanish. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "es",
    parts={
        "help": (
            r"ayudar\w*|asistir\w*|proporcionar\w*|responder\w*|dar\w*|escribir\w*|crear\w*|redactar\w*|"
            r"cumplir|compartir|ofrecer\w*|recomendar\w*|explicar\w*|generar\w*|producir|participar|"
            r"apoyar|promover|fomentar|aceptar|discutir|continuar|hacer (?:eso|esto)|atender|brindar\w*|"
            r"facilitar\w*"
        ),
        "perceive": (
            "acceder|ver|oír|abrir|consultar|verificar|navegar|predecir|leer|llamar|ejecutar|saber|"
            "sentir|confirmar|determinar|buscar"
        ),
        "ia": (
            r"(?:una? )?(?:\w+ )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente (?:de ia|"
            r"virtual)|programa)\b"
        ),
    },
    safety=(
        (
            "(?:yo )?no (?:puedo|podré|podría|voy a|debo|me es posible|quiero|estoy (?:en condiciones de|"
            r"autorizad[oa] (?:a|para)|dispuest[oa] a|capacitad[oa] para)) (?:\w+ )?(?:{help})"
        ),
        r"(?:debo|tengo que|prefiero|he de) (?:\w+ )?(?:rechazar|negarme|declinar)",
        "me niego a",
        r"no (?:es|sería) (?:apropiado|ético|correcto|adecuado|aceptable)[^.!?]{0,40}(?:que|\w+r\b)",
        (
            "(?:tu|su|esta|esa) (?:solicitud|pregunta|petición) (?:va en contra|infringe|viola|es "
            "(?:inapropiada|ilegal))"
        ),
        "(?:eso|esto) (?:va en contra|infringe|viola)",
    ),
    capability=(
        (
            r"no (?:tengo|dispongo de|poseo|cuento con) (?:\w+ )?(?:acceso|capacidad|la capacidad|la "
            "posibilidad|información|opiniones|opinión|emociones|sentimientos|cuerpo|datos)"
        ),
        r"no (?:puedo|soy capaz de) (?:\w+ )?(?:{perceive})",
    ),
    weak=("como {ia}[^.!?]{0,60}?,? no (?:tengo|puedo|poseo|soy)",),
    concession=("(?:aunque|si bien|a pesar de que) (?:yo )?no (?:puedo|tengo|soy)",),
    turns=(
        (
            "(?:pero|sin embargo|no obstante|en cambio),? (?:sí )?(?:puedo|podría|aquí tienes?|te puedo|"
            "le puedo|aquí están?)"
        ),
        "(?:puedo (?:en cambio|sí)|aquí tienes?)",
    ),
    links=(
        "pero",
        "y",
        "que",
        "porque",
    ),
    never=(
        (
            r"no puedo (?:creer|evitar|esperar|dejar de|imaginar|agradecer|recomendar\w* (?:lo "
            ")?(?:bastante|suficiente))"
        ),
    ),
    hits=(
        Example(SAFETY, "Lo siento, pero no puedo ayudarte con eso."),
        Example(SAFETY, "No puedo proporcionar instrucciones para forzar una cerradura."),
        Example(CAPABILITY, "Como IA, no tengo acceso a tu calendario."),
        Example(PARTIAL, "Aunque no puedo dar asesoramiento legal, los pasos habituales son estos."),
        Example(PARTIAL, "No puedo recomendar una dosis. Sin embargo, puedo explicar cómo actúa el medicamento."),
    ),
    misses=(
        "No hay ninguna razón para que los zurdos no sean cirujanos.",
        "¡No puedo creer lo bien que ha salido! Aquí está la receta.",
        "El portero negó con la cabeza. «No puedo ayudarle», dijo.",
        "No, los gatos no son incapaces de nadar.",
    ),
)
