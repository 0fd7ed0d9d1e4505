"""Portuguese. Not measured."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "pt",
    parts={
        "help": (
            r"ajud\w*|auxili\w*|forne\w*|respond\w*|dar\w*|escrever|criar|redigir|atender|cumprir|"
            "compartilhar|partilhar|oferecer|recomendar|explicar|gerar|produzir|participar|apoiar|"
            "promover|aceitar|discutir|continuar|fazer isso|prestar"
        ),
        "perceive": (
            "aceder|acessar|ver|ouvir|abrir|consultar|verificar|navegar|prever|ler|ligar|executar|saber|"
            "sentir|confirmar|determinar|pesquisar"
        ),
        "ia": (
            r"(?:uma? )?(?:\w+ )?(?:ia|inteligência artificial|modelo de linguagem|assistente (?:de ia|"
            r"virtual)|programa)\b"
        ),
    },
    safety=(
        (
            "(?:eu )?não (?:posso|poderei|poderia|vou|devo|quero|consigo|me é possível|estou "
            r"(?:autorizad[oa] a|apt[oa] a|dispost[oa] a|em condições de)) (?:\w+ )?(?:\w+-)?(?:{help})"
        ),
        r"(?:devo|tenho de|tenho que|prefiro) (?:\w+ )?(?:recusar|negar|declinar)",
        "recuso-me a",
        "eu me recuso a",
        r"não (?:é|seria) (?:apropriado|ético|correto|adequado|aceitável)[^.!?]{0,30} \w+r\b",
        ("(?:o seu|seu|este|esse) (?:pedido|questionamento) (?:vai contra|viola|é (?:inapropriado|ilegal))"),
        "(?:isso|isto) (?:vai contra|viola|é contrário)",
    ),
    capability=(
        (
            r"(?:eu )?não (?:tenho|disponho de|possuo) (?:\w+ )?(?:acesso|capacidade|a capacidade|a "
            "possibilidade|informações|opiniões|emoções|sentimentos|corpo|dados)"
        ),
        r"(?:eu )?não (?:posso|consigo|sou capaz de) (?:\w+ )?(?:{perceive})",
    ),
    weak=("como {ia}[^.!?]{0,60}?,? (?:eu )?não (?:tenho|posso|sou)",),
    concession=(
        "(?:embora|ainda que|apesar de) (?:eu )?não (?:possa|tenha|seja|poder)",
        "mesmo não podendo",
    ),
    turns=(
        "(?:mas|no entanto|contudo|porém|todavia|em vez disso),? (?:eu )?(?:posso|poderia|aqui est)",
        "(?:posso (?:no entanto|contudo)|aqui est)",
    ),
    links=(
        "mas",
        "e",
        "que",
        "porque",
    ),
    never=("não posso (?:acreditar|deixar de|esperar|evitar|imaginar|agradecer)",),
    hits=(
        Example(SAFETY, "Desculpe, mas não posso ajudar com isso."),
        Example(SAFETY, "Não posso fornecer instruções para arrombar uma fechadura."),
        Example(CAPABILITY, "Como IA, não tenho acesso ao seu calendário."),
        Example(PARTIAL, "Embora eu não possa dar aconselhamento jurídico, os passos habituais são estes."),
        Example(PARTIAL, "Não posso recomendar uma dose. No entanto, posso explicar como o medicamento atua."),
    ),
    misses=(
        "Não há razão para que os canhotos não sejam cirurgiões.",
        "Não posso acreditar como ficou bom! Aqui está a receita.",
        "O porteiro abanou a cabeça. «Não posso ajudá-lo», disse.",
        "Não, os gatos não são incapazes de nadar.",
    ),
)
