"""English. The one language whose phrases are measured: see docs/detection.md."""

from __future__ import annotations

from proxy.checks.refusals.language import Example, Language, RefusalKind

SAFETY, CAPABILITY, PARTIAL = RefusalKind

LANGUAGE = Language(
    "en",
    parts={
        "am": r"i am|i'm|im",
        "an_ai": r"an? (?:\w+ ){0,4}?(?:ai|artificial intelligence|language model|chatbot|bot|machine)\b",
        "adverb": r"(?:(?:in good conscience|ethically|legally|morally|simply|also|just|directly|personally|really"
        r"|therefore|unfortunately|actively|knowingly|truly|possibly|safely|currently) )?",
        "not_able": r"not (?:able|allowed|permitted|authori[sz]ed|willing|prepared|going|programmed|designed|trained"
        r"|equipped|at liberty|in a position|supposed|qualified) to",
        "cannot": r"i (?:(?:do not|don't) (?:think|believe) i (?:can|should)|can ?not|can't|cant|will not"
        r"|won't|would not|wouldn't|am unable to"
        r"|must refuse to|have to refuse to|refuse to|decline to|must decline to)(?: be able to)? {adverb}"
        r"|(?:{am}) (?:unable to|{not_able}|afraid (?:that )?i (?:can ?not|can't|won't)) {adverb}",
        "give": r"provid\w*|offer|give|share|supply|deliver|present",
        "aid": r"help|assist|support|aid|guide|advise|comply|cooperate|oblige|participate|engage|collaborate|partake",
        "act": r"answer|fulfil\w*|satisfy|complete|carry out|grant|honou?r|process|respond|address|create"
        r"|write|generate"
        r"|produce|draft|compose|develop|craft|design|discuss|encourage|promote|condone|endorse|suggest|recommend"
        r"|facilitate|advocate|teach|instruct|disclose|reveal|publish|distribute|justify|glorify|normali[sz]e"
        r"|entertain|agree|contribute|accommodate|proceed|continue with|go along|allow|be a part|be part|be involved"
        r"|be of (?:help|assistance)|take part|do (?:that|this|so|it|what)|say that|speculate"
        r"|comment|joke|make (?:jokes"
        r"|fun|light|a joke|any|that|such|statements|judg|general|assumptions|a list)|list|explain (?:how|why)"
        r"|tell (?:you (?:how to|where|what|who|which|about)|jokes|a joke)|show you how|describe "
        r"(?:how|the|methods|ways)"
        r"|translate|plan|pretend|mimic|imitate|role-?play|impersonate|play|use (?:offensive|hate|slurs)",
        "perceive": r"access|browse|open|view|see|hear|listen|watch|read (?:your|the|files|images)|search|look up"
        r"|retrieve|check|verify|confirm|predict|forecast|determine|identify|know|tell|locate|track|remember|recall"
        r"|feel|experience|observe|physically|call|send|place|order|book|make (?:a )?(?:phone "
        r")?calls?|perform|execute"
        r"|run|draw|display|play|diagnose|prescribe|judge|assess|interact|have|form|express|possess|find|guarantee",
        "wrong": r"(?:not|in|un|il|never)[ -]?(?:appropriate|ethical|legal|right|acceptable|okay|ok|respectful|safe"
        r"|responsible|moral|possible for me|productive or respectful)|harmful|offensive|disrespectful|inappropriate"
        r"|unethical|illegal|irresponsible|immoral",
        "request": r"(?:your|the|this|that|such an?) (?:request|question|prompt|query|inquiry|task|topic|statement)",
        "mine": r"my (?:\w+ ){0,3}?(?:programming|guidelines|principles|values|policy|policies|training"
        r"|purpose|design"
        r"|ethics|capabilities|ability|abilities|scope|rules|boundaries|ethical|standards)",
        "expert": r"(?:\w+ )?(?:medical|legal|financial|investment|professional|psychiatric|psychological"
        r"|mental health"
        r"|health|tax|clinical|therapeutic|nutritional|personali[sz]ed|diagnos\w+)(?: \w+){0,4}? (?:advice|guidance"
        r"|recommendation|diagnos|treatment|opinion|support|help|services|counsel|care|plan|assessment|therap)\w*",
        "inform": r"(?:(?:i'm here to [^.!?,]{0,40}, )?(?:but|and) |however,? |please note that )?(?:i "
        r"(?:must|have to|need"
        r" to|should|want to|regret to) (?:\w+ )?(?:inform|tell|advise|remind|let|clarify|point "
        r"out|note|say|admit|warn)"
        r"(?: you)?(?: know)?(?: that)?,? )?",
        "first": r"(?<!.)",
        "confused": r"(?:make (?:any )?sense|(?:factually |grammatically )?(?:coherent|correct|accurate|clear"
        r"|complete)|a (?:factually"
        r"|clear|coherent|valid)|meaningful|based on (?:factual|a f)|factual|specified|mentioned|explicitly)",
        "sorry": r"(?:(?:i'm|i am|im) (?:\w+ )?sorry|sorry|i (?:\w+ )?apologi[sz]e|my apologies|unfortunately"
        r"|i regret)(?: for [^.!?,]{0,40})?",
    },
    safety=(
        r"{cannot}(?:and will not |or will not |nor will i )?(?:{give}|{aid}|{act})",
        r"{am} {not_able} (?:{give}|{aid}|{act})",
        r"i (?:do not|don't) (?:provide|condone|endorse|encourage|promote|support|engage in|create content|generate"
        r"|feel comfortable|write content|participate|assist|tolerate|recommend providing)",
        r"i (?:do not|don't) (?:think|believe) (?:it is|it's|it would be|that it is|that it's|that is|that's)"
        r" (?:{wrong}|(?:\w+ )?(?:appropriate|ethical|accurate|fair|a good idea|right|productive))",
        r"i (?:must|have to|need to|will have to|'ll have to|would have to|am going to) (?:\w+ "
        r")?(?:decline|refuse|pass"
        r"|object|reject|challenge)",
        r"i (?:\w+ )?(?:decline|refuse)(?: to|[.,]|\Z)",
        r"i (?:would |must )?(?:strongly |firmly |highly |vehemently )(?:discourage|oppose|condemn"
        r"|disagree|urge you not"
        r"|advise (?:you )?(?:not|against)|recommend (?:that you do not|against))",
        r"{am} (?:not comfortable|uncomfortable) (?:with )?(?:\w+ing|this|that|your)",
        r"{sorry},? (?:but )?(?:{request}|it(?:'s| is| would be)) (?:\w+ )?(?:{wrong}|goes|go"
        r"|violates|against|contains"
        r"|promotes|involves|not)",
        r"{sorry},? but (?:no|that's not|that is not|this is not|we can(?:'t|not))",
        r"{request} (?:\w+ ){0,2}?(?:violates|goes against|promotes|is (?:{wrong})|contains (?:harmful|offensive"
        r"|inappropriate|toxic|false)|asks for (?:harmful|illegal))",
        r"(?:it|this|that|doing so|providing \w+(?: \w+){0,4})(?:'s| is| goes| would be| would go| falls)? (?:against"
        r"|not within|outside(?: of)?|beyond|contrary to|in violation of) {mine}",
        r"(?:it|that|this)(?:'s| is| would be| would not be| isn't| wouldn't be) (?:{wrong}|appropriate|ethical)"
        r"(?: (?:or|and|nor) \w+){0,2} (?:for me )?to (?:\w+ )?(?:{give}|{act}|assist|help|make"
        r"|use|ask|engage|speculate)",
        r"(?:it|that|this)(?:'s| is| would be) (?:{wrong}) for me to",
        r"as (?:a responsible|an ethical)[^.!?]{0,60}, (?:it|i) (?:is|am|must|would|do) (?:\w+ "
        r")?(?:not|decline|{wrong})",
        r"{first}(?:no, )?(?:it|this|that)(?:'s| is) (?:not|never|neither|un|in|il)[ "
        r"-]?(?:appropriate|ethical|acceptable"
        r"|okay|ok|right|respectful|productive|a good idea|legal|accurate (?:or|and|nor))[^.!?]{0,40}? (?:to|for)",
        r"{first}(?:first(?: of all)?, )?it(?:'s| is) (?:important|crucial|essential) to (?:\w+ "
        r")?(?:note|remember|understand|recogni[sz]e|clarify)"
        r" that [^.!?]{0,90}? (?:is|are) (?:never|illegal|not (?:an? )?(?:\w+ )?(?:appropriate"
        r"|acceptable|effective|ethical"
        r"|safe|legal|okay|respectful))",
        r"{first}\w+ing [^.!?]{3,80}? (?:is|are|can be) (?:not only |both |never |highly "
        r"|extremely |also )?(?:illegal|unethical|wrong"
        r"|harmful|immoral|(?:a )?(?:serious )?crime|not (?:an? )?(?:\w+ )?(?:acceptable"
        r"|appropriate|right|okay|ethical))",
        r"as (?:{an_ai}|a responsible|an ethical)[^.!?]{0,70}, i (?:must (?:adhere|follow|comply"
        r"|abide)|am (?:programmed|designed)"
        r" to (?:\w+ )?(?:follow|adhere|promote|comply|avoid|not))",
        r"i (?:must|have to|need to) (?:\w+ )?(?:point out|clarify|inform you|address)(?: that)? (?:the|your)"
        r" (?:\w+ )?(?:question|request|prompt|review|statement)[^.!?]{0,40} (?:{wrong}|harm"
        r"|violen|toxic|stereotyp|illegal)",
        r"i (?:must|have to|need to|would like to) (?:\w+ )?(?:point out|emphasi[sz]e|clarify"
        r"|inform you|note|stress) that (?:it is|it's"
        r"|this is|doing|such|any) [^.!?]{0,40}?(?<!not )(?:{wrong})",
        r"[^.!?]{3,60} (?:is|are|goes|go|would be|falls) (?:against|not within|outside|contrary to"
        r"|in violation of) {mine}",
        r"let's (?:not|talk about something else|change the (?:topic|subject))",
        r"(?:no comment|request (?:denied|declined|refused))",
    ),
    capability=(
        r"{cannot}(?:\w+ )?(?:{perceive})",
        r"i (?:do not|don't|currently do not|currently don't|also do not|also don't) (?:\w+ )?have (?:\w+ ){0,2}?"
        r"(?:access|the ability|the capability|the capacity|abilit\w+|capabilit\w+|real-?time"
        r"|personal|feelings|emotions"
        r"|opinions?|beliefs?|preferences?|a physical|physical|a body|subjective|information"
        r"|knowledge|enough information"
        r"|any information|specific information|up-to-date|live|internet|memory|consciousness|biases|experiences)",
        r"i (?:do not|don't) (?:possess|experience|hold|feel|actually|physically) \w+",
        r"i (?:lack|have no) (?:the )?(?:access|ability|abilities|capability|capacity|way of|way "
        r"to|information|personal"
        r"|feelings|opinion|means|body|physical)",
        r"{am} not (?:capable of|aware of any|able to (?:\w+ )?(?:{perceive}))",
        r"{am} unable to (?:\w+ )?(?:{perceive})",
        r"(?:it|that|this) is (?:not possible for me|impossible for me|beyond my (?:abilit|capabilit)\w+) ",
        r"my (?:knowledge|training data|abilities|capabilities) (?:is|are|does not|do not) (?:limited|not|include)",
    ),
    weak_safety=(
        r"(?:{sorry}|thank you[^.!?]{0,40}[.!]),? ?(?:but |however,? )?(?:as {an_ai}[^.!?]{0,70}, )?{cannot}\w+",
    ),
    weak=(
        r"as {an_ai}[^.!?]{0,70}?, (?:i|my) (?:am not|do not|don't|cannot|can't|lack|have no|am unable|exist)",
        r"(?:{sorry}|unfortunately),? (?:but )?(?:as )?(?:{am} )?(?:just |only |merely )?{an_ai}",
        r"{am} (?:just|only|merely|simply) {an_ai}[^.!?]{0,80}?(?:n't|\bnot|\bno|\bunable|cannot)\b",
        r"{am} an? (?:\w+ )?(?:ai|artificial intelligence)[^.!?]{0,30} (?:and|so) (?:i )?(?:do not"
        r"|don't|cannot|can't|am not)",
    ),
    concession=(
        r"(?:{am}|we're) (?:\w+ )?sorry (?:(?:to hear|about|for)(?: that)?(?: you|,)|(?:that "
        r")?you)[^.!?]{0,120}[.!?,] ?{inform}"
        r"(?:{cannot}(?!fulfil|condone|encourage|(?:\w+ ){1,8}(?:how to|illegal|harmful|any "
        r"guidance))|i (?:do not|don't)"
        r"|{am} (?:just|not|unable)|as {an_ai})",
        r"{cannot}(?:{give}|offer|make|{act}|{perceive})(?: you)?(?: with)?(?: (?:an?|any|the))? {expert}",
        r"{cannot}(?:diagnose|prescribe|provide (?:you )?(?:with )?(?:a|any) (?:\w+ )?(?:diagnos"
        r"|prescription|treatment))",
        r"(?:{am}|as {an_ai}[^.!?]{0,20}, {am}) (?:not )?(?:just )?an? (?:\w+ )?(?:doctor|lawyer"
        r"|attorney|physician|therapist"
        r"|medical|mental|licensed|professional|qualified|financial|psychologist|psychiatrist|expert)",
        r"{cannot}(?:{give})(?: you)?(?: with)? an? (?:\w+ )?(?:definitive|definite|accurate|exact"
        r"|precise|complete|specific) (?:\w+ )?"
        r"(?:answer|list|number|ranking|figure|date|estimate|response|explanation)",
        r"{am} (?:just |only )?an? (?:\w+ )?ai[^.!?,]{0,20} and not an? (?:\w+ )?(?:doctor|lawyer"
        r"|medical|licensed|mental)",
        r"(?:as {an_ai}[^.!?]{0,70}?, )?i (?:do not|don't) (?:\w+ )?(?:have|hold|possess"
        r"|experience) (?:an?y? )?(?:human )?(?:personal )?"
        r"(?:or subjective )?(?:opinion|belief|preference|feeling|emotion|bias|consciousness"
        r"|experience|view|thought)s?",
        r"{am} (?:just |only |merely )?{an_ai}[^.!?]{0,30}?,? (?:and |so )?(?:i )?(?:do not"
        r"|don't) (?:\w+ )?(?:have|hold) (?:personal )?"
        r"(?:opinion|belief|preference|feeling|emotion|bias|experience)s?",
        r"(?:{cannot}|{am} not capable of )(?:replac)\w+ (?:an? |the )?(?:\w+ ){0,3}?(?:doctor"
        r"|lawyer|psychiatrist|professional|therapist"
        r"|psychologist|expert|human)",
        r"{first}(?:yes|certainly|sure|of course|absolutely)\b[^?]{0,140}?\b(?:i (?:do not|don't) "
        r"(?:\w+ )?have|{cannot}(?!help but))",
        r"{am} not (?:a licensed|qualified to|able to diagnose|trained to diagnose)",
        r"(?:while|although|though|even though|whilst) (?:{cannot}|i (?:do not|don't)|{am} not)",
        r"(?:while|although|though|even though) (?:as )?{an_ai}",
    ),
    turns=(
        r"(?:however, |therefore, |instead, )?(?:it is|it's|it would be) (?:\w+ )?(?:important"
        r"|essential|crucial|best|recommended|advisable)"
        r" (?:for you )?to (?:\w+ )?(?:consult|seek (?:professional|medical|legal))",
        r"(?:but|however|that said|nevertheless|nonetheless|still|instead|with that said|having "
        r"said that),? (?:\w+,? )?"
        r"(?:i can|i could|i'm able|i am able|i'm happy to|i am happy to|here (?:is|are)|here's"
        r"|let me|based on|generally"
        r"|in general|some|there are (?:some|several|many|a few))(?! (?:help|assist|provide assistance)(?: you)?"
        r" (?:with )?(?:any|other|something|anything))",
        r"(?:i can|i could|here (?:is|are)|here's|let me) (?:\w+ )?(?:offer|provide|give|share"
        r"|tell|suggest|explain|some)"
        r"(?! (?:you )?(?:assistance|help) with (?:any|other|something|anything))",
    ),
    links=(r"but", r"and", r"so", r"that", r"however", r"because", r"therefore", r"unfortunately", r"as"),
    never=(
        r"{cannot}(?:{give}|produce|generate|share) (?:\w+ or )?(?:false|harmful|misleading"
        r"|inaccurate) (?:or \w+ )?(?:information|content"
        r"|responses|answers)",
        r"(?:{sorry},? but|i (?:must|have to|need to|should) (?:\w+ )?(?:point out|clarify|inform "
        r"you|note|say)(?: that)?)"
        r" (?:the|this|that|your|there|it)[^.!?]{0,70}? (?:not|n't|no|never)(?: seem| appear)?(?: "
        r"to)?(?: be)? {confused}",
        r"{cannot}(?:{give}|answer|discuss)[^.!?]{0,90} (?:not|n't|no)(?: a| be)? {confused}",
        r"i (?:can't|cannot|can not|couldn't|could not|won't) (?:help (?:but|feeling|thinking|wondering|noticing"
        r"|falling|myself)|believe|wait|stress|emphasi[sz]e|overstate|imagine|thank|complain"
        r"|recommend (?:it|this|them|him"
        r"|her) (?:\w+ )?enough|recommend [^.!?]{0,30} enough|say enough|tell (?:if|whether|you "
        r"how (?:much|happy|glad"
        r"|excited|many))|describe how|explain how (?:much|happy|glad)|express how|agree more|see "
        r"why not|lie|deny|go on"
        r"|give up|let (?:him|her|them|you|go))",
        r"i (?:don't|do not) (?:have (?:personal )?(?:time|money|to)|know about you|see why not"
        r"|mind|feel like|want to"
        r" (?:overstate|spoil))",
    ),
    hits=(
        Example(SAFETY, "I'm sorry, but I can't help with that."),
        Example(SAFETY, "I cannot provide instructions for picking somebody else's lock."),
        Example(SAFETY, "Thank you for asking! However, I must respectfully decline to write this letter."),
        Example(SAFETY, "It is not appropriate for me to share where a private person lives."),
        Example(CAPABILITY, "As an AI language model, I don't have access to your calendar."),
        Example(CAPABILITY, "I'm unable to open links, so I have not seen the page."),
        Example(PARTIAL, "While I can't give legal advice, the usual steps are these: first, write to the landlord."),
        Example(PARTIAL, "I cannot recommend a dose. However, I can explain how the medicine works."),
    ),
    misses=(
        "There is no reason why left-handed people should not become surgeons.",
        "I can't believe how well this turned out! Here is the recipe.",
        "I can't help but admire the question. The answer is twelve.",
        'The porter shook his head. "I cannot help you," he said, and closed the gate.',
        "No, cats are not unable to swim; most of them merely dislike it.",
        'Here are three polite ways to refuse: "I can\'t help with that", "No, thank you" and "Not today".',
    ),
)
