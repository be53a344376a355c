"""What a reader of briefs knows beyond pocket's lexicon: particles, words with two meanings, words nearby."""

from __future__ import annotations

import re
from typing import NamedTuple

from jogak.spec.film import EffectKind

# --------------------------------------------------------------------------------------------- Korean

JOSA = re.compile(
    r"(?:들)?(?:님)?(?:이랑|랑|하고|과|와)?"
    r"(?:에게서|한테서|에게|한테|께서|께|에서|으로|로|까지|부터|처럼|만큼|보다|마다|같이|조차|마저|속|안|위|밑|옆|뒤|앞)?"
    r"(?:에서|으로|로|에)?(?:은|는|이|가|을|를|의|도|만|에|이나|나|라도|이라도|요|이여)?"
    r"(?:이다|다|이야|야|이에요|예요|입니다|인|였다|이었다|이라는|라는|이란|란)?"
)
"""What may follow a Korean noun: plural, honorific, particles, copula. Matches the empty string too."""

NUMBERS_KO: dict[str, int] = {
    "한": 1, "하나": 1, "두": 2, "둘": 2, "세": 3, "셋": 3, "네": 4, "넷": 4, "다섯": 5, "여섯": 6,
    "일곱": 7, "여덟": 8, "아홉": 9, "열": 10, "여러": 3, "많은": 3, "몇": 3, "수많은": 3,
}  # fmt: skip
COUNTERS_RE = "마리|명|개|대|척|채|그루|송이|권|벌|쌍|자루|장|사람|분|친구"
NEVER_KO = frozenset({
    "가지만", "개나", "공이나", "관은", "국은", "굴로", "말도", "말로", "매", "매도", "밀", "벌이", "별로",
    "복을", "복이", "북으로", "불만", "비만", "새로", "성이나", "실은", "약은", "약이", "역이", "이리",
    "일이", "자", "자는", "자도", "자만", "종이", "차마", "차이", "초대", "통은", "표도", "풀이", "해",
    "해도", "해서", "해야", "해요", "낮은", "낮게", "들은", "들고", "들어", "들으며", "방금", "방과",
    "강한", "배어", "밤사이", "새로운",
})  # fmt: skip
"""Whole words that look like a noun with a particle and almost never are one in a brief."""


class Rule(NamedTuple):
    """When a noun with two meanings is the one that the lexicon has. Patterns; empty ones ask nothing."""

    after: str = ""
    """How the next word must begin."""
    unless_after: str = ""
    before: str = ""
    """What the word before must be."""
    unless_before: str = ""
    """What the word before must not be."""
    josa: str = ""
    """What its particles must be."""
    instead: str = ""
    """The concept that is meant when the rule fails, if any."""


RULES_KO: dict[str, Rule] = {
    "배": Rule(
        unless_after=r"고[프파픈플팠]|부르|불러|아프|아파|먹|깎|한 입|따|나무",
        unless_before=r"두|세|[0-9]",
    ),
    "나는": Rule(before=r".*(?:을|를|로|위로|에서)"),
    "난다": Rule(before=r".*(?:을|를|로|위로|에서)"),
    "날며": Rule(before=r".*(?:을|를|로|위로|에서)"),
    "눈": Rule(
        unless_after=r"감|뜨|떴|떠|큰|크|커|반짝|빛나|맞추|비비|깜빡|마주|부시|멀|예쁘|초롱|물|동그|휘둥|가리|으로",
        unless_before=r"초록|파란|푸른|까만|커다란|두|맑은|빛나는|큰|그의|그녀의|눈",
    ),
    "밤": Rule(
        unless_after=r"줍|주워|주우|까|굽|구워|먹|삶|따|나무",
        unless_before=r"구운|맛있는",
        instead="chestnut",
    ),
    "말": Rule(
        unless_after=r"하|했|해|한|없|걸|듣|들|잃|배우|씀|다툼|안|통하|못|놀이",
        unless_before=r"할|마디|무슨|이런|그런|라는|다는|정말|거짓|그",
    ),
    "비": Rule(unless_before=r"소원|행운|손|빌며"),
    "개": Rule(unless_before=r"한|두|세|네|여러|몇|[0-9]|다섯|여섯|수많은"),
    "게": Rule(josa=r"(?:들)?(?:가|를|는|와|의|도)"),
    "굴": Rule(after=r"먹|까|굽|구이|따"),
    "양": Rule(unless_after=r"많|적|이 많|이 적"),
    "해": Rule(unless_before=r"새|올|그|다음|지난|매", josa=r"(?:님)?(?:가|를|는|의|와|에게)"),
    "달": Rule(unless_before=r"한|두|세|네|여러|몇|[0-9]|이번|다음|지난|매|그"),
    "매": Rule(josa=r"(?:가|를|는|와|의)"),
    "초": Rule(after=r"켜|켠|불|밝"),
    "국": Rule(after=r"끓|먹|마시"),
    "실": Rule(after=r"뜨|감|묶|엉|꿰|잡"),
    "통": Rule(after=r"^$"),
    "관": Rule(after=r"^$"),
    "자": Rule(after=r"재"),
    "표": Rule(after=r"사|끊|쥐|들고"),
    "약": Rule(after=r"먹|짓|발라|사"),
    "탈": Rule(after=r"쓰|쓴|써|춤"),
    "복": Rule(after=r"^$"),
    "벌": Rule(unless_after=r"받|주|서|을 받", unless_before=r"한|두|세|[0-9]"),
    "불": Rule(unless_after=r"켜|켠|켰"),
    "종": Rule(unless_after=r"류"),
    "창": Rule(after=r"열|닫|밖|너머|보|내다"),
    "연": Rule(unless_before=r"매|몇", josa=r"(?:들)?(?:이|을|은|과|의|도|처럼)?"),
    "깃": Rule(unless_after=r"들"),
    "알": Rule(unless_before=r"한|두|세|네|[0-9]", josa=r"(?:들)?(?:이|을|은|과|의|에서|도|속에서)"),
    "밀": Rule(after=r"^$"),
    "역": Rule(josa=r"(?:에서|에|으로|의|앞에서)"),
    "북": Rule(unless_after=r"쪽|극", josa=r"(?:을|이|과|은)?"),
    "차": Rule(unless_after=r"마시|우리|우려|끓|한잔|한 잔", instead="cup_of_tea"),
    "새": Rule(after=r"^(?:$|[,.!?]|한|두|세|여러|떼|소리|둥지|들)"),
    "풍경": Rule(after=r"소리|흔들|울"),
    "가지": Rule(after=r"볶|요리|먹|굽|보라"),
    "사과": Rule(unless_after=r"하|했|드리|받아"),
    "파리": Rule(unless_after=r"거리|에펠|여행", josa=r"(?:들)?(?:가|를|는|와|도)?"),
    "그림": Rule(unless_after=r"그리|그려|그린|같|처럼|체", josa=r"(?:들)?(?:이|을|은|과|의|속|앞)?"),
    "사리": Rule(after=r"입|두르"),
    "도도": Rule(after=r"새"),
    "사자": Rule(unless_after=r"고|며"),
    "이리": Rule(unless_after=r"와|오|저리", josa=r"(?:들)?(?:가|를|와|의)"),
    "라임": Rule(unless_after=r"맞"),
    "고리": Rule(after=r"걸"),
    "공작": Rule(unless_after=r"하|시간"),
    "구두": Rule(unless_after=r"약속"),
    "날개": Rule(unless_after=r"를 펴|를 단|달린|펴|짓"),
    "얼음": Rule(unless_after=r"나라|땡"),
    "영웅": Rule(unless_after=r"적"),
    "반짝이": Rule(josa=r"(?:를|가|는)"),
    "주사": Rule(after=r"맞|놓"),
}
"""Korean nouns with more than one meaning."""
MODIFIERS_KO = (
    "길 잃은", "길을 잃은", "호기심 많은", "겁 많은", "겁이 많은", "잠 못 드는", "꿈 많은", "작은",
    "조그만", "자그마한", "큰", "커다란", "거대한", "어린", "늙은", "외로운", "용감한", "게으른", "착한",
    "귀여운", "배고픈", "졸린", "수줍은", "씩씩한", "엉뚱한", "심심한", "낡은", "오래된", "마지막",
    "가난한", "똑똑한", "영리한", "부지런한", "꼬마", "아기", "새끼", "엄마", "아빠", "황금", "마법",
    "눈먼", "목마른", "지친", "신비한", "신비로운", "행복한", "슬픈", "젊은", "친절한", "이상한", "잠자는",
    "떠돌이", "외톨이", "파란 눈의", "하나뿐인", "게으름뱅이", "겁쟁이", "개구쟁이", "말썽꾸러기",
    "털북숭이", "수다쟁이", "꼬마 아기",
)  # fmt: skip
"""What may stand before a hero and stays with it in the narration; not all of it can be drawn."""
NOT_NAMES_KO = frozenset({
    "가족", "친구", "친구들", "무리", "떼", "형제", "남매", "부부", "자매", "왕국", "나라", "마을", "모양",
    "소리", "꼬리", "얼굴", "이야기", "인형", "영화", "둘", "셋", "하나", "모두", "혼자", "함께", "홀로",
    "대장", "선생", "엄마", "아빠", "아기", "그림", "눈빛", "발자국", "그림자", "목소리", "마음", "꿈",
    "집", "한마리", "두마리", "세마리", "마리", "우리", "여럿", "사이", "학교", "축제", "파티", "단편",
    "애니메이션", "영상", "날개", "오늘", "내일", "어제", "매일", "서로", "눈", "발", "손", "귀", "코",
    "입", "배", "등", "머리", "집단", "세상", "옆", "앞", "뒤", "위", "아래", "속", "안", "밖",
})  # fmt: skip
"""What follows a being and is no name of it."""
NO_HERO_KO = frozenset({
    "나", "너", "그", "그녀", "우리", "저", "이것", "그것", "이야기", "영화", "단편", "영상", "날", "날씨",
    "바람", "시간", "오늘", "내일", "세상", "아무도", "모두", "누군가", "마음", "사랑", "꿈", "소리", "빛",
    "하루", "색", "분위기", "음악", "노래", "다시", "함께", "혼자", "어느", "거기", "여기", "길", "장면",
    "주인공", "것", "수", "때", "곳", "중", "안", "밖", "위", "아래", "계절", "봄", "여름", "가을", "겨울",
    "배경", "제목", "내용", "인생", "기분", "마지막", "처음", "모습", "그림", "느낌",
})  # fmt: skip
"""What a sentence may be about that is no hero."""

PLACES_KO: dict[str, str] = {
    "산꼭대기": "mountains", "산길": "mountains", "정상": "mountains",
    "절벽": "mountains", "동굴": "mountains", "들녘": "meadow", "오솔길": "forest",
    "숲길": "forest", "나무 위": "forest", "다락방": "room", "도서관": "room",
    "서재": "room", "카페": "room", "식당": "room", "서점": "room", "극장": "room", "지하실": "room",
    "집에서": "room", "창가": "room", "이불 속": "room", "연구실": "room",
    "실험실": "room", "무대": "room", "항구": "beach", "부두": "beach", "해안가": "beach",
    "빙하": "snowfield", "얼음 위": "snowfield", "빙판": "snowfield", "달나라": "space", "화성": "space",
    "별나라": "space", "은하계": "space", "왕국": "village", "과수원": "farm",
    "논": "farm", "외양간": "farm", "늪": "river", "폭포": "river", "우물가": "river", "물가": "river",
    "옥상": "city", "지붕 위": "city", "골목길": "city", "도로": "city", "서울": "city", "부산": "city",
    "뉴욕": "city", "도쿄": "city", "런던": "city", 
    "장터": "village", "시장": "village", "용궁": "underwater",
    "바다 밑": "underwater", "바다 밑바닥": "underwater", "오아시스": "desert", "모래밭": "beach",
    "텃밭": "farm", "들길": "meadow", "바닷길": "sea", "밤바다": "sea", "눈길": "snowfield",
    "운하": "river", "우물": "river", "역 앞": "city", "빵집": "room", "꽃집": "room", "작업실": "room",
    "하늘나라": "sky", "구름나라": "sky", "동화 나라": "village", "유치원": "room",
}  # fmt: skip
"""Places that pocket does not draw by name, and the nearest one that it draws."""
TIMES_KO: dict[str, str] = {
    "해가 지": "sunset", "해가 저": "sunset", "해 지는": "sunset", "해질": "sunset", "노을빛": "sunset",
    "해가 뜨": "morning", "해가 떠": "morning", "해 뜨는": "morning", "아침 해": "morning",
    "새벽녘": "morning", "달빛": "night", "별빛": "night", "달밤": "night", "한여름밤": "night",
    "밤새": "night", "밤늦게": "night", "밤길": "night", "점심": "day",
}  # fmt: skip
WEATHERS_KO: dict[str, str] = {
    "크리스마스": "snow", "성탄": "snow",
    "폭풍우": "rain", "폭풍": "rain", "폭우": "rain", "비바람": "rain", "천둥": "rain", "뇌우": "rain",
    "장대비": "rain", "빗물": "rain", "빗방울": "rain", "비를 맞": "rain", "눈 덮인": "snow",
    "눈이 쌓": "snow", "겨울": "snow", "구름이 끼": "cloudy", "구름이 많": "cloudy",
}  # fmt: skip
CLEARS_KO = re.compile(r"(?:비|눈|안개|폭풍우?|소나기)(?:가|이|는|은)? ?(?:그치|그친|그쳤|개|걷히|걷힌|멎)")
"""A weather that ends in the brief ends in the film."""
MOODS_KO: dict[str, str] = {
    "어두운": "mysterious", "캄캄한": "mysterious", "쓸쓸": "sad", "외로": "sad", "그리워": "sad",
    "그리움": "sad", "무서": "tense", "겁에": "tense", "폭풍": "tense", "생일": "happy", "축제": "happy",
    "파티": "happy", "잔치": "happy", "크리스마스": "happy", "소풍": "happy", "행복": "happy",
    "모험": "epic", "전설": "epic", "용감": "epic", "마법": "mysterious", "꿈속": "mysterious",
    "비밀": "mysterious", "신비": "mysterious", "장난": "playful", "웃긴": "playful", "엉뚱": "playful",
    "고요": "calm", "평화": "calm", "자장가": "calm", "잔잔": "calm", "포근": "calm",
}  # fmt: skip
ACTIONS_KO: dict[str, str] = {
    "논다": "play", "노네": "play",
    "바이올린을 켜": "play_music", "첼로를 켜": "play_music", "트럼펫을 부": "play_music",
    "나팔을 부": "play_music", "색소폰을 부": "play_music", "플루트를 부": "play_music", "본 ": "look",
    "처음 본": "look", "처음 보": "look", "나는": "fly", "난다": "fly", "날며": "fly", "배가 고": "eat",
    "배우": "learn", "배워": "learn", "여행": "travel", "떠나": "travel", "떠났": "travel",
    "떠난": "travel", "모험": "travel", "항해": "travel", "향해": "travel", "가고 싶": "travel",
    "탐험": "travel", "구하": "rescue", "구해": "rescue", "구출": "rescue", "돕": "rescue",
    "도와": "rescue", "도우": "rescue", "길을 잃": "astray", "길 잃": "astray", "잃어버": "lose",
    "그리워": "miss", "보고 싶": "miss", "돌아오": "return", "돌아온": "return", "돌아가": "return",
    "돌아갔": "return", "집으로": "return", "집에 가": "return", "자라": "grow", "키우": "grow",
    "키워": "grow", "가꾸": "grow", "심는": "grow", "심고": "grow", "심었": "grow", "소원": "wish",
    "꿈꾸": "wish", "꿈을 꾸": "wish", "날아": "fly", "날고": "fly", "술래": "chase", "파티": "celebrate",
    "축하": "celebrate", "생일": "celebrate", "잔치": "celebrate", "마법을": "magic", "주문을": "magic",
    "변신": "magic", "피아노를 치": "play_music", "기타를 치": "play_music", "북을 치": "play_music",
    "피리를 부": "play_music", "낚시하": "fish", "낚시를": "fish", "쉬고": "rest", "쉬는": "rest",
    "발사": "launch", "출발": "launch", "두드리": "knock", "녹는": "melt", "녹아": "melt", "녹고": "melt",
    "녹지": "melt", "길을 걷": "walk", "뛰는": "run", "뛰어": "run", "뛰놀": "play", "놀러": "play",
    "술래잡기": "play", "춤": "dance", "노래": "sing", "울음을": "cry", "바라봐": "look", "지키": "guard",
    "지켜 주": "guard", "모으": "collect", "모은": "collect", "줍": "collect", "주워": "collect",
    "주운": "collect", "간다": "travel", "가는": "travel", "갔다": "travel", "가고 있": "travel",
    "지나": "walk", "만드": "build", "만든": "build", "그리는": "draw", "쓰는": "write", "싸운": "fight",
    "잔다": "sleep", "잠든": "sleep", "숨은": "hide", "숨고": "hide", "오르": "climb", "떨어진": "fall",
    "짓는": "build", "따라": "chase", "보는": "look", "본다": "look", "보고 있": "look", "탄 ": "ride",
    "탄다": "ride", "타며": "ride", "떠오르": "fly", "찾아온": "meet", "굽이": "", "쌓인": "", "쌓여": "",
    "놀란": "", "놀라": "", "걷히": "", "말없": "", "나르": "carry", "싣": "carry", "배달": "carry",
    "전하": "carry", "지난": "", "나른": "", "오른쪽": "", "오른편": "", "오른손": "", "노를 젓": "ride",
    "노를 저": "ride", "기르": "grow", "길러": "grow", "날아다니": "fly", "뛰어다니": "run",
    "뛰어놀": "play", "타고 싶": "ride", "집을 찾아": "return", "바라는": "wish", "구르": "fall",
    "빠지": "fall", "부르는": "sing", "부르며": "sing", "사는": "", "살고": "", "살던": "",
}  # fmt: skip
"""Stems that mean an action, before the lexicon's own; an empty one means none."""
NEAR_KO: dict[str, str] = {
    "해적선": "ship", "유령선": "ship",
    "기사": "fencer", "해적": "rower", "어부": "rower", "선원": "rower", "선장": "rower",
    "해마": "tropical_fish", "잠자리": "butterfly", "반딧불이": "sparkle", "반딧불": "sparkle",
    "갈매기": "dove", "제비": "bird", "까치": "crow", "두루미": "swan", "학": "swan", "뻐꾸기": "bird",
    "딱따구리": "bird", "타조": "flamingo", "두더지": "badger", "족제비": "otter", "사막여우": "fox",
    "미어캣": "otter", "사슴벌레": "beetle", "매미": "beetle", "산신령": "wizard", "선녀": "fairy",
    "저승사자": "vampire", "종이배": "sailboat", "종이비행기": "small_plane", "열기구": "balloon",
    "잠수함": "ship", "드론": "helicopter", "등대": "broadcasting_tower", "풍차": "broadcasting_tower",
    "보물": "gem", "보물 상자": "wrapped_gift", "보물상자": "wrapped_gift", "허수아비": "farmer",
    "탐험가": "cowboy", "여행자": "pedestrian", "나그네": "pedestrian", "모험가": "cowboy",
    "우체부": "pedestrian", "집배원": "pedestrian", "음악가": "singer", "시인": "painter",
    "작가": "painter", "무사": "fencer", "장군": "royal_guard", "하인": "groom", "유치원생": "child",
    "동생": "child", "누나": "girl", "언니": "girl", "오빠": "boy", "형": "boy", "삼촌": "man",
    "이모": "woman", "고모": "woman", "손자": "boy", "손녀": "girl", "아들": "boy", "딸": "girl",
    "청년": "man", "아가씨": "woman", "노부부": "old_man", "연인": "bride", "눈꽃": "snowflake",
    "별자리": "shining_star", "불꽃놀이": "firecracker", "그네": "playground_slide", "담요": "bed",
    "이불": "bed", "눈싸움": "snowman", "해초": "coral",
}  # fmt: skip
"""Things that pocket does not draw by name, and what it draws for them."""

# --------------------------------------------------------------------------------------------- English

NUMBERS_EN: dict[str, int] = {
    "one": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "several": 3, "many": 3, "few": 3, "couple": 2, "pair": 2, "trio": 3, "dozen": 12,
}  # fmt: skip
MODIFIERS_EN = frozenset({
    "missing",
    "baby", "beautiful", "big", "brave", "clever", "curious", "cute", "father", "fluffy", "friendly",
    "gentle", "giant", "golden", "grumpy", "happy", "homeless", "huge", "hungry", "kind", "last", "lazy",
    "little", "lonely", "lost", "magic", "magical", "mother", "mysterious", "old", "paper", "playful",
    "poor", "rusty", "sad", "shy", "silly", "sleeping", "sleepy", "small", "strange", "stray", "tiny",
    "tired", "toy", "wild", "wise", "wooden", "young",
})  # fmt: skip
"""What may stand before a hero and stays with it in the narration."""
ARTICLES_EN = frozenset({
    "a", "an", "the", "his", "her", "its", "their", "my", "our", "your", "this", "that", "these", "those",
    "some", "every", "each", "another", "one", "no", "any",
})  # fmt: skip
BEFORE_NOUNS_EN = frozenset({
    "a", "an", "the", "his", "her", "its", "their", "my", "our", "your", "this", "that", "these", "those",
    "some", "every", "each", "another", "one", "no", "any", "of", "with", "and", "by", "from", "into", "on",
    "in", "like",
})  # fmt: skip
"""After one of these stands a thing, not a verb."""
VERBISH_EN = frozenset({
    "bear", "saw", "bat", "duck", "seal", "turkey", "crane", "rose", "watch", "ring", "bow", "tie", "fan",
    "pick", "lock", "brush", "note", "sign", "ship", "train", "wave", "waves", "fire", "log", "hook", "key",
    "rock", "rocks", "shell", "sweet", "roast", "wrap", "toast", "slide", "hole", "leaves", "box", "book",
    "drum", "drums", "bank", "nurse", "cook", "cooks", "judge", "guard", "hunt", "stone", "cock", "pit",
    "chips", "present", "target", "goal", "match", "sparkle", "twinkle", "burst", "bang", "blast", "swirl",
    "bubble", "home", "pan", "mail", "letter", "die", "door", "coach", "spirit", "swallow", "kid", "nut",
    "screw", "bolt", "sponge", "hammer", "paper", "paint", "paints", "station", "stool", "trunk", "vest",
    "wood", "worm", "yarn", "shower", "pen", "pens", "knot", "map", "house", "houses", "fish", "fishes",
    "flower", "flowers", "star", "stars", "chain", "cap", "can",
})  # fmt: skip
"""Nouns that are verbs too: things after an article, an adjective, a number, or at the start."""
PREPOSITIONS_EN = frozenset({
    "in", "on", "at", "by", "under", "over", "across", "through", "near", "during", "with", "into", "from",
    "for", "to", "around", "behind", "beside", "above", "along", "toward", "towards", "after", "of",
    "about", "between", "past",
})  # fmt: skip
IRREGULAR_VERBS: dict[str, str] = {
    "ran": "run", "flew": "fly", "leapt": "leap", "slept": "sleep", "asleep": "sleep", "woke": "wake up",
    "waking": "wake up", "wakes": "wake up", "awake": "wake up", "sang": "sing", "sung": "sing",
    "ate": "eat", "eaten": "eat", "drank": "drink", "swam": "swim", "found": "find", "wrote": "write",
    "written": "write", "drew": "draw", "drawn": "draw", "fought": "fight", "drove": "drive",
    "driven": "drive", "rode": "ride", "ridden": "ride", "said": "say", "met": "meet", "hid": "hide",
    "hidden": "hide", "fell": "fall", "built": "build", "gave": "give", "fled": "flee", "got up": "get up",
    "saw": "see",
}  # fmt: skip
NOUNISH_VERBS = frozenset({
    "song", "tears", "game", "ballet", "feast", "waltz", "goodbye", "journey", "voyage", "adventure",
    "birthday", "party", "wish", "spell", "lost", "rest", "help", "building", "making", "present",
    "becomes", "have", "is", "get", "gets",
})  # fmt: skip
"""Words that tell what happens and are no verb to repeat."""
NO_HERO_EN = frozenset({
    "film", "movie", "story", "short", "video", "tale", "day", "way", "world", "thing", "night", "morning",
    "music", "song", "sound", "time", "light", "lot", "kind", "bit", "scene", "end", "beginning", "mood",
    "life", "love", "dream", "place", "moment", "one", "top", "side", "middle", "edge", "rest", "sun",
    "wind", "air", "first", "last", "next", "colour", "color", "look", "style", "background", "animation",
    "adventure", "journey", "season", "spring", "summer", "autumn", "winter",
})  # fmt: skip

PLACES_EN: dict[str, str] = {
    "mountaintop": "mountains", "cliff": "mountains", "summit": "mountains",
    "cave": "mountains", "hillside": "meadow", "glade": "forest", "clearing": "forest",
    "treehouse": "forest", "attic": "room", "classroom": "room", "library": "room", "cafe": "room",
    "bakery": "room", "restaurant": "room", "bookshop": "room", "theatre": "room", "theater": "room",
    "basement": "room", "laboratory": "room", "lab": "room", "workshop": "room", "stage": "room",
    "harbour": "beach", "harbor": "beach", "pier": "beach", "coast": "beach", 
    "glacier": "snowfield", "north pole": "snowfield", "south pole": "snowfield", "antarctica": "snowfield",
    "frozen lake": "snowfield", "mars": "space", "kingdom": "village", "orchard": "farm",
    "vineyard": "farm", "swamp": "river", "waterfall": "river", "rooftop": "city", "alley": "city",
    "highway": "city", "seoul": "city", "paris": "city", "london": "city", "new york": "city",
    "tokyo": "city", "busan": "city", "oasis": "desert", 
    "ocean floor": "underwater", "vegetable garden": "farm", "on the ice": "snowfield", "dock": "beach",
    "market square": "village", "country road": "village", "office": "room", "bathroom": "room",
}  # fmt: skip
"""Places that pocket does not draw by name, and the nearest one that it draws."""
TIMES_EN: dict[str, str] = {
    "sun sets": "sunset", "sun set": "sunset", "setting sun": "sunset", "sun goes down": "sunset",
    "sun rises": "morning", "rising sun": "morning", "sun comes up": "morning", "moonlight": "night",
    "moonlit": "night", "starlight": "night", "starry": "night", "tonight": "night", "bedtime": "night",
    "lunchtime": "day",
}  # fmt: skip
WEATHERS_EN: dict[str, str] = {
    "christmas": "snow",
    "storm": "rain", "stormy": "rain", "thunder": "rain", "snow-covered": "snow", "winter": "snow",
    "wintry": "snow", "frosty": "snow",
}  # fmt: skip
CLEARS_EN = re.compile(
    r"\b(?:rain|snow|storm|fog|mist)\b (?:stops|ends|clears|lifts|is over|stopped|cleared|lifted)"
)
MOODS_EN: dict[str, str] = {
    "dark": "mysterious", "alone": "sad", "misses": "sad", "goodbye": "sad", "storm": "tense",
    "birthday": "happy", "party": "happy", "picnic": "happy", "christmas": "happy", "festival": "happy",
    "quest": "epic", "legend": "epic", "magic": "mysterious", "spell": "mysterious", "ghost": "mysterious",
    "lullaby": "calm", "bedtime": "calm",
}  # fmt: skip
ACTIONS_EN: dict[str, str] = {
    "missing": "", "fish": "fish",
    "learn": "learn", "travel": "travel", "journey": "travel", "sail": "travel", "explore": "travel",
    "set off": "travel", "adventure": "travel", "voyage": "travel", "wander": "walk", "rescue": "rescue",
    "save": "rescue", "help": "rescue", "get lost": "astray", "lose": "lose", "miss": "miss",
    "long for": "miss", "return": "return", "come home": "return", "go home": "return",
    "way home": "return", "grow": "grow", "wish": "wish", "dream of": "wish", "dream": "wish",
    "celebrate": "celebrate", "birthday": "celebrate", "cast a spell": "magic", "spell": "magic",
    "go fishing": "fish", "launch": "launch", "take off": "launch", "blast off": "launch", "knock": "knock",
    "melt": "melt", "guard": "guard", "protect": "guard", "collect": "collect", "gather": "collect",
    "carry": "carry", "deliver": "carry", "bring": "carry", "row": "ride", "pedal": "ride",
    "gets lost": "astray", "is lost": "astray", "raise": "grow", "have a party": "celebrate",
    "rest": "rest", "float": "fly", "roam": "walk", "visit": "meet", "get lost in": "astray",
}  # fmt: skip
"""Verbs and phrases that mean an action, before the lexicon's own."""
NEAR_EN: dict[str, str] = {
    "pirate ship": "ship", "ghost ship": "ship", "sailing ship": "sailboat",
    "knight": "fencer", "samurai": "fencer", "pirate": "rower", "sailor": "rower", "fisherman": "rower",
    "captain": "rower", "seahorse": "tropical_fish", "dragonfly": "butterfly", "firefly": "sparkle",
    "fireflies": "sparkle", "seagull": "dove", "gull": "dove", "stork": "swan", "heron": "swan",
    "ostrich": "flamingo", "woodpecker": "bird", "magpie": "crow", "mole": "badger", "weasel": "otter",
    "meerkat": "otter", "paper boat": "sailboat", "paper plane": "small_plane",
    "hot air balloon": "balloon", "hot-air balloon": "balloon", "submarine": "ship", "drone": "helicopter",
    "lighthouse": "broadcasting_tower", "windmill": "broadcasting_tower", "treasure": "gem",
    "treasure chest": "wrapped_gift", "scarecrow": "farmer", "explorer": "cowboy",
    "traveller": "pedestrian", "traveler": "pedestrian", "postman": "pedestrian", "mailman": "pedestrian",
    "musician": "singer", "poet": "painter", "writer": "painter", "warrior": "fencer", "brother": "boy",
    "sister": "girl", "son": "boy", "daughter": "girl", "uncle": "man", "aunt": "woman", "toddler": "baby",
    "neighbour": "person", "neighbor": "person", "stranger": "person", "fireworks": "firecracker",
    "seaweed": "coral", "wolf pup": "wolf", "axolotl": "lizard", "gnome": "goblin", "yeti": "gorilla",
    "starfish": "shining_star", "leprechaun": "elf", "snow leopard": "leopard", "arctic fox": "fox",
}  # fmt: skip
"""Things that pocket does not draw by name, and what it draws for them."""

# --------------------------------------------------------------------------------------------- both

KINDS = (
    ("물고기", "fish"), ("고래", "whale"), ("나무", "tree"), ("벌레", "beetle"), ("사람", "person"),
    ("아저씨", "man"), ("아줌마", "woman"), ("공룡", "tyrannosaurus"), ("로봇", "robot"), ("강아지", "dog"),
    ("고양이", "cat"), ("요정", "fairy"), ("괴물", "space_monster"), ("기차", "train"), ("자동차", "car"),
    ("비행기", "airplane"), ("소년", "boy"), ("소녀", "girl"), ("꽃", "flower"), ("새", "bird"),
    ("곰", "bear"), ("차", "car"), ("배", "ship"), ("집", "house"), ("뱀", "snake"), ("개", "dog"),
    ("bird", "bird"), ("fish", "fish"), ("tree", "tree"), ("flower", "flower"), ("bear", "bear"),
    ("dog", "dog"), ("cat", "cat"), ("boat", "ship"), ("ship", "ship"), ("car", "car"), ("woman", "woman"),
    ("man", "man"), ("bug", "beetle"), ("whale", "whale"), ("dragon", "dragon"), ("bot", "robot"),
    ("saurus", "tyrannosaurus"), ("snake", "snake"), ("house", "house"),
)  # fmt: skip
"""What an unknown word ends in, and what is drawn for it."""
EMOJI_PLACES: dict[str, str] = {
    "🌊": "sea", "🏖": "beach", "🏝": "beach", "🌲": "forest", "🌳": "forest", "🏜": "desert", "🌵": "desert",
    "🏔": "mountains", "⛰": "mountains", "🗻": "mountains", "🏙": "city", "🌆": "city", "🌃": "city",
    "🌇": "city", "🏡": "village", "🏘": "village", "🌌": "space", "🪐": "space", "☁": "sky", "🌾": "farm",
    "🚜": "farm", "🌷": "garden", "🌻": "garden", "🌸": "garden", "🛋": "room", "🛏": "room", "🏠": "room",
    "🏞": "river", "🐚": "beach", "🪸": "underwater", "🫧": "underwater", "❄": "snowfield",
}  # fmt: skip
EMOJI_TIMES: dict[str, str] = {
    "🌅": "sunset", "🌇": "sunset", "🌆": "sunset", "🌄": "morning", "🌃": "night", "🌙": "night",
    "🌌": "night", "⭐": "night", "🌟": "night", "🌕": "night", "☀": "day", "🌞": "day",
}  # fmt: skip
EMOJI_WEATHERS: dict[str, str] = {
    "🌧": "rain", "☔": "rain", "⛈": "rain", "🌩": "rain", "❄": "snow", "🌨": "snow", "☃": "snow",
    "⛄": "snow", "🌫": "fog", "☁": "cloudy", "🌥": "cloudy", "☀": "clear",
}  # fmt: skip
EMOJI_MOODS: dict[str, str] = {
    "😢": "sad", "😭": "sad", "💔": "sad", "😊": "happy", "😄": "happy", "🎉": "happy", "🥳": "happy",
    "😂": "playful", "🤣": "playful", "😜": "playful", "😱": "tense", "😨": "tense", "✨": "mysterious",
    "🔮": "mysterious", "😌": "calm", "💤": "calm", "😴": "calm", "⚔": "epic", "💪": "epic",
}  # fmt: skip
EMOJI_ACTIONS: dict[str, str] = {
    "💤": "sleep", "😴": "sleep", "💃": "dance", "🕺": "dance", "🏃": "run", "🏊": "swim", "🎤": "sing",
    "🎶": "sing", "🍽": "eat", "📖": "read", "🎨": "draw", "⚔": "fight", "🎂": "celebrate",
    "🎉": "celebrate",
}  # fmt: skip

CUES: tuple[tuple[EffectKind, re.Pattern[str]], ...] = (
    ("thunder", re.compile(r"천둥|번개|뇌우|폭풍|벼락|thunder|lightning|\bstorm")),
    ("wind", re.compile(r"바람|\bwind(?:y|s)?\b|breeze")),
    ("bell", re.compile(r"종소리|종이 울|방울 소리|\bbells?\b")),
    ("fire", re.compile(r"모닥불|벽난로|캠프파이어|campfire|bonfire|fireplace")),
    ("birds", re.compile(r"새소리|새들의 노래|지저귀|birdsong")),
    ("waves", re.compile(r"파도|\bwaves?\b(?! (?:hello|goodbye|to|at))")),
    ("crowd", re.compile(r"축제|시장|잔치|사람들|festival|market|crowd")),
    ("door", re.compile(r"문을 (?:열|닫|두드)|노크|\bdoor\b|knock")),
    ("magic", re.compile(r"마법|요술|주문을|\bmagic|\bspell\b|enchant")),
    ("stream", re.compile(r"시냇물|개울|폭포|\bstream\b|waterfall|\bbrook\b")),
    ("insects", re.compile(r"귀뚜라미|풀벌레|매미|cricket|cicada")),
    ("engine", re.compile(r"엔진|부릉|\bengine\b")),
    ("steps", re.compile(r"발소리|발자국 소리|footsteps")),
)
"""Sounds that a brief asks for by name."""
