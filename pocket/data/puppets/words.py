"""What puppets are called and how they look: kinds, hair, clothes, colours, poses, in English and Korean.

A Korean colour here stands before a noun ("빨간 머리"). Everything a caption says comes from these tables.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Look = Literal["soft_3d", "flat", "clip_art", "cutout"]
Age = Literal["child", "adult", "elder"]
Sex = Literal["female", "male", ""]
View = Literal["front", "three_quarter_left", "three_quarter_right", "side_left", "side_right", "back"]
Expression = Literal["neutral", "happy", "sad", "angry", "surprised", "sleepy"]
Mouth = Literal["rest", "closed", "A", "E", "O", "U", "FV", "M"]
Hand = Literal["rest", "open", "point"]
Rgb = tuple[int, int, int]

LOOKS: tuple[Look, ...] = ("soft_3d", "flat", "clip_art", "cutout")
MOUTHS: tuple[Mouth, ...] = ("closed", "A", "E", "O", "U", "FV", "M")


class Term(NamedTuple):
    """A word in both languages."""

    en: str
    ko: str


class Colour(NamedTuple):
    en: str
    ko: str
    rgb: Rgb


COLOURS: dict[str, Colour] = {
    "red": Colour("red", "빨간", (226, 64, 60)),
    "orange": Colour("orange", "주황색", (244, 138, 48)),
    "yellow": Colour("yellow", "노란", (250, 202, 58)),
    "green": Colour("green", "초록색", (82, 166, 92)),
    "blue": Colour("blue", "파란", (64, 122, 210)),
    "purple": Colour("purple", "보라색", (140, 96, 190)),
    "pink": Colour("pink", "분홍색", (244, 150, 176)),
    "brown": Colour("brown", "갈색", (142, 96, 62)),
    "black": Colour("black", "검은", (62, 58, 70)),
    "white": Colour("white", "하얀", (246, 243, 236)),
    "grey": Colour("grey", "회색", (146, 150, 160)),
}
HAIR_COLOURS: dict[str, Colour] = {
    "black": Colour("black", "검은", (58, 50, 58)),
    "brown": Colour("brown", "갈색", (122, 78, 50)),
    "red": Colour("red", "빨간", (206, 82, 44)),
    "blond": Colour("blond", "금발", (242, 196, 98)),
    "grey": Colour("grey", "회색", (164, 164, 172)),
    "white": Colour("white", "하얀", (240, 238, 234)),
    "pink": Colour("pink", "분홍색", (240, 146, 176)),
    "blue": Colour("blue", "파란", (88, 132, 208)),
}
SKINS: dict[str, Colour] = {
    "fair": Colour("fair", "하얀", (255, 222, 200)),
    "light": Colour("light", "밝은", (250, 206, 172)),
    "tan": Colour("tan", "가무잡잡한", (226, 172, 128)),
    "brown": Colour("brown", "갈색", (172, 116, 80)),
    "dark": Colour("dark", "짙은", (120, 78, 58)),
}
FURS: dict[str, Colour] = {
    "orange": Colour("orange", "주황색", (242, 140, 62)),
    "brown": Colour("brown", "갈색", (158, 108, 74)),
    "grey": Colour("grey", "회색", (156, 160, 172)),
    "black": Colour("black", "검은", (78, 74, 88)),
    "white": Colour("white", "하얀", (246, 241, 234)),
    "cream": Colour("cream", "크림색", (242, 214, 170)),
    "yellow": Colour("yellow", "노란", (246, 190, 84)),
    "pink": Colour("pink", "분홍색", (248, 178, 186)),
}

KINDS: dict[str, Term] = {
    "human": Term("person", "사람"),
    "fox": Term("fox", "여우"),
    "cat": Term("cat", "고양이"),
    "dog": Term("dog", "강아지"),
    "rabbit": Term("rabbit", "토끼"),
    "bear": Term("bear", "곰"),
    "tiger": Term("tiger", "호랑이"),
    "lion": Term("lion", "사자"),
    "panda": Term("panda", "판다"),
    "mouse": Term("mouse", "생쥐"),
    "wolf": Term("wolf", "늑대"),
    "raccoon": Term("raccoon", "너구리"),
    "koala": Term("koala", "코알라"),
    "pig": Term("pig", "돼지"),
    "sheep": Term("sheep", "양"),
}
ANIMALS = tuple(kind for kind in KINDS if kind != "human")
FURS_OF: dict[str, tuple[str, ...]] = {
    "fox": ("orange", "grey", "white"),
    "cat": ("orange", "grey", "black", "white", "cream"),
    "dog": ("brown", "cream", "white", "black", "yellow"),
    "rabbit": ("white", "grey", "brown", "cream", "pink"),
    "bear": ("brown", "black", "white", "cream"),
    "tiger": ("orange", "white"),
    "lion": ("yellow", "cream"),
    "panda": ("white",),
    "mouse": ("grey", "brown", "white"),
    "wolf": ("grey", "black", "white"),
    "raccoon": ("grey", "brown"),
    "koala": ("grey",),
    "pig": ("pink",),
    "sheep": ("white", "cream", "black"),
}
"""The first is the usual one."""
SELF_COLOURED = frozenset({"fox", "tiger", "lion", "panda", "wolf", "raccoon", "koala", "pig", "sheep"})
"""Animals whose usual colour needs no saying."""

PEOPLE: dict[tuple[Age, Sex], Term] = {
    ("child", "female"): Term("girl", "여자아이"),
    ("child", "male"): Term("boy", "남자아이"),
    ("adult", "female"): Term("woman", "여자"),
    ("adult", "male"): Term("man", "남자"),
    ("elder", "female"): Term("old woman", "할머니"),
    ("elder", "male"): Term("old man", "할아버지"),
}
HAIRS: dict[str, Term] = {
    "short": Term("short {} hair", "짧은 {} 머리"),
    "tousled": Term("tousled {} hair", "부스스한 {} 머리"),
    "side_part": Term("neatly parted {} hair", "가르마를 탄 {} 머리"),
    "curly": Term("curly {} hair", "곱슬곱슬한 {} 머리"),
    "bob": Term("bobbed {} hair", "{} 단발머리"),
    "long": Term("long {} hair", "긴 {} 머리"),
    "ponytail": Term("a {} ponytail", "하나로 묶은 {} 머리"),
    "pigtails": Term("{} pigtails", "양 갈래로 묶은 {} 머리"),
    "braids": Term("{} braids", "양 갈래로 땋은 {} 머리"),
    "bun": Term("{} hair in a bun", "틀어 올린 {} 머리"),
    "bald": Term("a bald head", "대머리"),
}
GLASSES: dict[str, Term] = {
    "round": Term("round glasses", "동그란 안경"),
    "square": Term("square glasses", "네모난 안경"),
    "sun": Term("sunglasses", "선글라스"),
}
BEARDS: dict[str, Term] = {
    "moustache": Term("a {} moustache", "{} 콧수염"),
    "short": Term("a short {} beard", "짧은 {} 수염"),
    "long": Term("a long {} beard", "긴 {} 수염"),
}


class Wear(NamedTuple):
    """A garment: its noun in English (with {} for colour and pattern) and Korean, and the Korean verb for it."""

    en: str
    ko: str
    verb: Literal["쓰", "두르", "신", "입", "달"]


HATS: dict[str, Wear] = {
    "beanie": Wear("a {} woolly hat", "{} 털모자", "쓰"),
    "cap": Wear("a {} baseball cap", "{} 야구 모자", "쓰"),
    "straw_hat": Wear("a straw hat with a {} ribbon", "{} 리본이 달린 밀짚모자", "쓰"),
    "beret": Wear("a {} beret", "{} 베레모", "쓰"),
    "party_hat": Wear("a {} party hat", "{} 고깔모자", "쓰"),
    "top_hat": Wear("a {} top hat", "{} 중절모", "쓰"),
    "crown": Wear("a golden crown", "금빛 왕관", "쓰"),
    "bow": Wear("a {} hair bow", "{} 머리 리본", "달"),
}
TOPS: dict[str, Wear] = {
    "t_shirt": Wear("a {} T-shirt", "{} 티셔츠", "입"),
    "shirt": Wear("a {} shirt", "{} 셔츠", "입"),
    "sweater": Wear("a {} sweater", "{} 스웨터", "입"),
    "dress": Wear("a {} dress", "{} 원피스", "입"),
    "coat": Wear("a {} coat", "{} 코트", "입"),
    "raincoat": Wear("a {} raincoat", "{} 비옷", "입"),
    "hanbok": Wear("a {} hanbok jacket", "{} 저고리", "입"),
}
BOTTOMS: dict[str, Wear] = {
    "trousers": Wear("{} trousers", "{} 바지", "입"),
    "shorts": Wear("{} shorts", "{} 반바지", "입"),
    "skirt": Wear("a {} skirt", "{} 치마", "입"),
    "dungarees": Wear("{} dungarees", "{} 멜빵바지", "입"),
    "hanbok_skirt": Wear("a {} hanbok skirt", "{} 한복 치마", "입"),
}
SHOES: dict[str, Wear] = {
    "boots": Wear("{} boots", "{} 장화", "신"),
    "shoes": Wear("{} shoes", "{} 신발", "신"),
}
SCARF = Wear("a {} scarf", "{} 목도리", "두르")
PATTERNS: dict[str, Term] = {
    "stripes": Term("striped", "줄무늬"),
    "dots": Term("polka-dot", "물방울무늬"),
}

EXPRESSIONS: dict[Expression, Term] = {
    "neutral": Term("with a calm face", "차분한 표정으로"),
    "happy": Term("with a happy smile", "환하게 웃으며"),
    "sad": Term("with a sad face", "슬픈 표정으로"),
    "angry": Term("with an angry face", "화난 표정으로"),
    "surprised": Term("with a surprised face", "놀란 표정으로"),
    "sleepy": Term("with sleepy eyes", "졸린 눈으로"),
}
VIEWS: dict[View, Term] = {
    "front": Term("seen from the front", "정면을 보고"),
    "three_quarter_left": Term("turned a little to the left", "비스듬히 왼쪽을 보고"),
    "three_quarter_right": Term("turned a little to the right", "비스듬히 오른쪽을 보고"),
    "side_left": Term("in profile facing left", "옆으로 돌아 왼쪽을 보고"),
    "side_right": Term("in profile facing right", "옆으로 돌아 오른쪽을 보고"),
    "back": Term("seen from behind", "뒷모습으로"),
}


class PoseWords(NamedTuple):
    """How a pose is said: English participle, Korean form before a noun, and names to look it up by."""

    en: str
    ko: str
    en_names: tuple[str, ...]
    ko_names: tuple[str, ...]


POSES: dict[str, PoseWords] = {
    "standing": PoseWords(
        "standing", "서 있는", ("standing", "stand"), ("서기", "서 있는", "서 있기", "차렷")
    ),
    "back_view": PoseWords(
        "standing",
        "서 있는",
        ("back", "back view", "from behind"),
        ("뒷모습", "뒤", "뒤돌아선", "뒤돌아서기"),
    ),
    "walking": PoseWords("walking", "걷는", ("walking", "walk"), ("걷기", "걷는", "산책")),
    "running": PoseWords("running", "달리는", ("running", "run"), ("달리기", "달리는", "뛰기")),
    "waving": PoseWords(
        "waving",
        "손을 흔드는",
        ("waving", "wave", "waving hand", "wave hello"),
        ("손 흔들기", "손 흔드는", "인사", "안녕"),
    ),
    "sitting": PoseWords("sitting", "앉아 있는", ("sitting", "sit", "seated"), ("앉기", "앉은", "앉아 있는")),
    "jumping": PoseWords("jumping", "뛰어오르는", ("jumping", "jump"), ("점프", "뛰어오르기", "뛰어오르는")),
    "lying": PoseWords(
        "lying down", "누워 있는", ("lying", "lying down", "sleeping"), ("눕기", "누운", "누워 있는")
    ),
    "pointing": PoseWords(
        "pointing", "손가락으로 어딘가를 가리키는", ("pointing", "point"), ("가리키기", "가리키는")
    ),
    "dancing": PoseWords("dancing", "춤추는", ("dancing", "dance"), ("춤", "춤추기", "춤추는")),
    "cheering": PoseWords(
        "cheering with both arms up",
        "두 팔을 들고 만세를 부르는",
        ("cheering", "cheer", "hooray"),
        ("만세", "환호"),
    ),
    "hands_on_hips": PoseWords(
        "standing with hands on hips",
        "허리에 손을 얹고 선",
        ("hands on hips", "proud"),
        ("허리에 손", "허리에 손 얹기"),
    ),
    "thinking": PoseWords(
        "thinking, a hand at the chin", "턱에 손을 대고 생각하는", ("thinking", "think"), ("생각하기", "생각")
    ),
    "open_arms": PoseWords(
        "standing with open arms",
        "두 팔을 벌린",
        ("open arms", "welcome", "hug"),
        ("팔 벌리기", "환영", "포옹"),
    ),
    "bowing": PoseWords(
        "bowing", "허리 숙여 인사하는", ("bowing", "bow"), ("절", "허리 숙여 인사", "배꼽인사")
    ),
}
