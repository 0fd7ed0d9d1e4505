"""Characters that look like ASCII: an extract of Unicode's confusables.txt (UTS #39), version 15.0.

Only what helps to read a disguised word is kept: characters outside ASCII without a compatibility decomposition, whose
skeleton is ASCII. Letters never stand for punctuation, digits keep their value. Added are letters that Unicode names
after a Latin letter (small capitals, hooks, strokes, turned ones), Canadian syllabics of fancy text, and the other case
where the data knows only one. tools/derive_confusables.py prints the table anew.

Derived from Unicode data files, Copyright © 1991-2022 Unicode, Inc., under the Unicode License v3
(SPDX-License-Identifier: Unicode-3.0); its text stands in the file NOTICE at the root of the repository.
"""

from __future__ import annotations

_LOOKS_LIKE = {
    " ": "\u1680\u2028\u2029\u2800",
    "$": "🄏",
    "'": "˴՚՝\u05f3‘’‛′‵",
    "(": "❨❲〔﴾",
    ")": "❩❳〕﴿",
    "*": "\u066d⁎∗",
    "+": "᛭∔➕⨢⨣⨤⨥⨦",
    ",": "\u060d٫‚",
    "-": "˗\u06d4‐‒–⁃−∸➖⨩⨪⸚",
    ".": "\u0701\u0702꘎\U00010a50",
    "/": "᜵⁁⁄∕╱⟋⧶⧸㇓𝈺",
    "2": "ƧƨƻϨϩᒿꙄꙅꛯꝚꝛ",
    "3": "ƷȜȝɜʒЗзҘҙӠӡⳌⳍꝪꝫꞫ𑢪𑣊𖼻𝈆",
    "4": "Ꮞꮞ𑢯𑣏",
    "5": "Ƽ𑢻𑣛",
    "6": "бᏮⳒⳓꮾ𑣕",
    "7": "𐓒𐓺𑣆𝈒",
    "8": "Ȣȣ𐌚\U0001e8cb",
    "9": "ⳊⳋꝮꝯ𑢬𑢶𑣌𑣖",
    ":": "˸։\u05c3\u0703\u0704᛬᠃᠉⁚∶꞉",
    "<": "˂‹❮𝈶",
    "=": "᐀≐≑≗≙≚≞⩮⹀゠꓿",
    ">": "˃›❯𝈷",
    "?": "ꛫ",
    "\\": "∖⟍⧵⧹㇔𝈏𝈻",
    "^": "˄",
    "a": "ȺɐɑΑΛαλАаᎪᗅᗩᴀᶏ⍶⍺ⱥⱭⱯꓮꭺ𐊠𖽀",
    "aa": "Ꜳꜳ",
    "ae": "Ææ",
    "ao": "Ꜵꜵ",
    "au": "Ꜷꜷ",
    "av": "ꜸꜹꜺꜻ",
    "ay": "Ꜽꜽ",
    "b": "ƀƁƂƃƄƅɃɓʙΒβБВЬвьѢѣҌҍᏏᏴᏼᑲᑳᖯᗷᲀᲇᵬᶀꓐꞖꞗꞴꞵꮟ𐊂𐊡𐌁",
    "c": "ƇƈȻȼɕСсҪҫᏟᑕᲃᴄↃↄⲤⲥꓚꞒꞓꞔꟄꮯ𐊢𐌂𐐕𐐽𐔜𑣲𝼝🅮🝌",
    "d": "ÐðĐđƉƊƋƌȡɖɗԀԁᎠᏧᑯᗞᗪᴅᵭᶁᶑꓒꓓꝹꝺꟇꟈꭰꮷ",
    "dz": "ʣ",
    "e": "ƎƏǝɆɇɘəΕεЄЕеєҼҽҾҿᎬᴇᶒ℮⋿ⱸⱻⴹꓰꬲꬴꭼ𐊆𑢦𑢮𑣎",
    "f": "ƑƒϜϝՔքᖴᵮᶂẝꓝꜰꝻꝼꞘꞙꬵ𐊇𐊥𐔥𑢢𑣂𝈓",
    "g": "ƍƓǤǥɠɡɢԌԍՑցᏀᏳᏻᵷᵹᶃꓖꝽꞠꞡꞬꮐ𝼂",
    "h": "ĦħɥɦʜΗЋНнћҢңҺһӇӈӉӊՀհᎻᏂᏲᏺᕼⱧⱨⲎⲏꓧꚔꚕꞍꞕꞪꮋꮒ𐋏",
    "i": "ıƖƗɨɩɪΙιІіӀӏᎥᴉᵻᵼᶖ⍳⍸ⲒⲓꙆꙇꞮꭵ𑣃𝼚",
    "j": "ɈɉʝͿϳЈјᎫᒍᴊꓙꞲꭻ",
    "k": "ƘƙʞΚκКкҚқҞҟᏦᛕᴋᶄⱩⱪⲔⲕꓗꝀꝁꝂꝃꝄꝅꞢꞣꞰꮶ𐔘𝼃𝼐",
    "l": "ŁłƚǀȴȽɫɬɭʟ\u05d5\u05df\u0627\u0673\u07caᏞᒪᛁᶅⱠⱡⱢⳐⳑⵏꓡꓲꝈꝉꞀꞁꞎꞭꬷꬸꬹꮮ𐊊𐌉𐐛𐑃𐔦𑢣𑢲𑣒𖼖𖼨𝈪𝼑𝼓",
    "ll": "ǁ",
    "ls": "ʪ",
    "lz": "ʫ",
    "m": "ƜɱΜμϺϻМмӍӎᎷᗰᛖᴍᵯᶆⱮⲘⲙꓟꟺꬺꮇ𐊰𐌑𑜀",
    "n": "ŊŋƝƞȠȵɲɳɴΝηՈՌոռᑎᴎᵰᶇⲚⲛꓠꞐꞑꞤꞥꬻ𐆎𐔓",
    "o": "ØøƟɵΘΟΣθοςσОоѲѳӨөՕօ\u05e1\u0647\u06be\u06c1\u06d5\u06ffଠഠဝჿዐᎤᎾᏫᲂᲿᴏᴑ⊖⊝⍬ⱺⲞⲟⴱⵁⵔ〇ꓳꝊꝋꝌꝍꬽꬾꭴꮎꮻ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑢨𑢵𑢷𑣈𑣗𝈚𝼛🜔",
    "oe": "Œœ",
    "oo": "Ꝏꝏ",
    "p": "ƤƥΡρРрᏢᑭᴘᵱᵽᶈ⍴ⱣⲢⲣꓑꝐꝑꝒꝓꝔꝕꮲ𐊕",
    "q": "ɊɋʠԚԛԳԶգզᑫⵕꝖꝗꝘꝙꞯ",
    "r": "ƦɌɍɹɼɽɾʀГгҒғᎡᎱᏒᖇᴙᴚᴦᵲᵳᶉⱤⲄⲅꓣꞂꞃꞦꞧꭇꭈꭉꭋꭱꮁꮢ𐒴𐓜𖼵𝈖𝼖",
    "s": "ƽȿʂЅѕՏտᏕᏚᔕᵴᶊⱾꓢꜱꞄꞅꞨꞩꟅꟉꟊꮥꮪ𐊖𐐠𐑈𑢡𑣁𖼺𝼞",
    "t": "ŦŧƫƬƭƮȶȾʇʈΤτТтҬҭᎢᲄᲅᴛᵵ⊤⍡⟙ⱦⲦⲧꓔꞆꞇꞱꭲ𐊗𐊱𐌕𑢼𖼊𝼉🝨",
    "t3": "Ꜩꜩ",
    "tf": "ꝷ",
    "ts": "ʦ",
    "u": "ɄʉʋυՍսሀᏌᑌᴜᴝᵾᶙ∪⋃ꓴꞞꞟꞸꞹꭎꭒꮜ𐓎𐓶𑢸𑣘𖽂",
    "ue": "ᵫ",
    "uo": "ꭣ",
    "v": "ƲɅʌνѴѵ\u05d8Ꮩᐯᴠ∨⋁ⱱⱴⴸꓦꛟꝞꝟꮩ𐆗𐔝𑜆𑢠𑣀𖼈𝈍🜈",
    "w": "ɯʍΩωѠѡѼѽԜԝԱաᎳᏔᗯᴡⱲⱳꓪꝠꝡꮃꮤ𑓅𑜊𑜎𑜏𑣯",
    "x": "×ΧχХхҲҳᕁᕽ᙭᙮ᚷᶍ╳⤫⤬⨯⨰ⲬⲭⵝꓫꞳꭓꭖꭗꭘꭙ𐆖𐊐𐊴𐌗𐌢𐔧𑣬",
    "y": "ƔƳƴɎɏɣʎʏΓΥγУуҮүҰұყᎩᎽᲧᶌỾỿⲨⲩꓬꭚꭹꮍ𐊲𑢤𑣜𖽃",
    "z": "ƵƶȤȥɀʐʑΖζᏃᘔᴢᵶᶎⱫⱬⱿꓜꟆꮓ𐋵𑢩𑣄𑣉",
    "{": "❴𝄔",
    "|": "\u05c0∣⏽𐌠\U0001e8c7",
    "}": "❵",
    "~": "⁓∼⍨⩪⸞⸟",
}

# Letters in black circles and squares, and the letters that flags are made of: A to Z each, without decomposition.
_ALPHABETS = (0x1F150, 0x1F170, 0x1F1E6)

LOOKS_LIKE: dict[str, str] = {char: target for target, chars in _LOOKS_LIKE.items() for char in chars}
"""What a character looks like, in lower-case ASCII."""
LOOKS_LIKE.update((chr(first + n), chr(0x61 + n)) for first in _ALPHABETS for n in range(26))
