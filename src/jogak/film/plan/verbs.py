"""What the things that happen in a film are called, how they sound, and how much they move."""

from __future__ import annotations

from typing import NamedTuple

from jogak.spec.film import EffectKind, Mood


class Verb(NamedTuple):
    """One action. Korean: stem and infinitive (달리-, 달려); English: plain form."""

    stem: str
    infinitive: str
    english: str
    ko_object: str = ""
    """What a Korean sentence says when the brief names no object."""
    en_object: str = ""
    sound: EffectKind | None = None
    motion: float = 0.5
    mood: Mood | None = None

    @property
    def now(self) -> str:
        """달려요"""
        return self.infinitive + "요"

    @property
    def past(self) -> str:
        """달렸어요"""
        return self.infinitive[:-1] + chr(ord(self.infinitive[-1]) + _SSANG_SIOT) + "어요"

    @property
    def will(self) -> str:
        """달릴, as in "달릴 수 있을까요"."""
        return future(self.stem)


_SSANG_SIOT, _RIEUL = 20, 8


def future(stem: str) -> str:
    """A Korean stem as it stands before 수 or 거예요: 달리- → 달릴, 찾- → 찾을, 만들- → 만들."""
    final = (ord(stem[-1]) - ord("가")) % 28
    if final == 0:
        return stem[:-1] + chr(ord(stem[-1]) + _RIEUL)
    return stem if final == _RIEUL else stem + "을"


VERBS: dict[str, Verb] = {
    "run": Verb("달리", "달려", "run", sound="steps", motion=0.8, mood="happy"),
    "walk": Verb("걷", "걸어", "walk", sound="steps", motion=0.5, mood="calm"),
    "fly": Verb("날", "날아가", "fly", sound="whoosh", motion=0.8),
    "jump": Verb("뛰어오르", "뛰어올라", "jump", sound="whoosh", motion=0.8, mood="playful"),
    "sleep": Verb("잠들", "잠들어", "sleep", motion=0.2, mood="calm"),
    "wake": Verb("깨어나", "깨어나", "wake up", sound="chime", motion=0.4, mood="calm"),
    "dance": Verb("춤추", "춤춰", "dance", sound="steps", motion=0.8, mood="happy"),
    "sing": Verb("노래하", "노래해", "sing", sound="chime", motion=0.5, mood="happy"),
    "play_music": Verb("연주하", "연주해", "play", en_object="music", motion=0.5, mood="happy"),
    "cook": Verb("요리하", "요리해", "cook", sound="fire", motion=0.5, mood="happy"),
    "eat": Verb("먹", "먹어", "eat", "맛있게", "something good", motion=0.5, mood="happy"),
    "drink": Verb("마시", "마셔", "drink", "천천히", "slowly", motion=0.4, mood="calm"),
    "swim": Verb("헤엄치", "헤엄쳐", "swim", sound="splash", motion=0.7, mood="calm"),
    "wave": Verb("인사하", "인사해", "say hello", motion=0.6, mood="happy"),
    "look": Verb("바라보", "바라봐", "look", "가만히", "around", motion=0.3, mood="calm"),
    "find": Verb("찾", "찾아", "find", "무언가를", "something", sound="chime", motion=0.5, mood="mysterious"),
    "wait": Verb("기다리", "기다려", "wait", "조용히", "quietly", motion=0.2, mood="calm"),
    "play": Verb("놀", "놀아", "play", "신나게", sound="chime", motion=0.8, mood="playful"),
    "read": Verb("읽", "읽어", "read", "책을", "a book", motion=0.2, mood="calm"),
    "write": Verb("쓰", "써", "write", "편지를", "a letter", motion=0.3, mood="calm"),
    "draw": Verb("그리", "그려", "draw", "그림을", "a picture", sound="chime", motion=0.4, mood="happy"),
    "fight": Verb("싸우", "싸워", "fight", "용감하게", "bravely", sound="impact", motion=1.0, mood="epic"),
    "drive": Verb("달리", "달려", "drive", sound="engine", motion=0.8, mood="happy"),
    "ride": Verb("타", "타", "ride", "신나게", "along", sound="whoosh", motion=0.7),
    "cry": Verb("울", "울어", "cry", motion=0.3, mood="sad"),
    "laugh": Verb("웃", "웃어", "laugh", sound="chime", motion=0.5, mood="happy"),
    "talk": Verb("이야기하", "이야기해", "talk", motion=0.4, mood="calm"),
    "meet": Verb(
        "만나", "만나", "meet", "새 친구를", "a new friend", sound="chime", motion=0.4, mood="happy"
    ),
    "hide": Verb("숨", "숨어", "hide", "살금살금", sound="steps", motion=0.5, mood="playful"),
    "fall": Verb("넘어지", "넘어져", "fall", "꽈당", sound="impact", motion=0.8, mood="playful"),
    "climb": Verb("오르", "올라가", "climb", "높이", "high", sound="steps", motion=0.6, mood="epic"),
    "build": Verb(
        "만들", "만들어", "build", "멋진 것을", "something", sound="impact", motion=0.5, mood="happy"
    ),
    "give": Verb("건네", "건네", "give", "선물을", "a gift", sound="chime", motion=0.4, mood="happy"),
    "hug": Verb("껴안", "껴안아", "hug", "꼭", "a friend", motion=0.3, mood="happy"),
    "chase": Verb(
        "쫓아가", "쫓아가", "chase", "열심히", "after it", sound="steps", motion=0.9, mood="playful"
    ),
    "escape": Verb("도망치", "도망쳐", "escape", "재빨리", sound="steps", motion=0.9, mood="tense"),
    "learn": Verb(
        "배우", "배워", "learn", "새로운 것을", "something new", sound="chime", motion=0.5, mood="happy"
    ),
    "travel": Verb("떠나", "떠나", "travel", "멀리", "far away", sound="steps", motion=0.6),
    "rescue": Verb("구하", "구해", "help", "친구를", "a friend", sound="whoosh", motion=0.8, mood="epic"),
    "lose": Verb("잃어버리", "잃어버려", "lose", "길을", "the way", sound="wind", motion=0.4, mood="sad"),
    "astray": Verb("길을 잃", "길을 잃어", "get lost", sound="wind", motion=0.4, mood="sad"),
    "miss": Verb("그리워하", "그리워해", "miss", "누군가를", "someone", motion=0.2, mood="sad"),
    "return": Verb("돌아가", "돌아가", "go home", "집으로", sound="steps", motion=0.5, mood="calm"),
    "grow": Verb("키우", "키워", "grow", "꽃을", "a flower", sound="chime", motion=0.4, mood="calm"),
    "wish": Verb("소원을 빌", "소원을 빌어", "make a wish", sound="magic", motion=0.3, mood="mysterious"),
    "celebrate": Verb("잔치를 벌이", "잔치를 벌여", "celebrate", sound="chime", motion=0.7, mood="happy"),
    "magic": Verb("마법을 부리", "마법을 부려", "cast a spell", sound="magic", motion=0.7, mood="mysterious"),
    "fish": Verb("낚시하", "낚시해", "go fishing", sound="splash", motion=0.3, mood="calm"),
    "rest": Verb("쉬", "쉬어", "rest", "잠시", "a while", motion=0.2, mood="calm"),
    "launch": Verb("날아오르", "날아올라", "take off", "힘차게", sound="engine", motion=1.0, mood="epic"),
    "knock": Verb(
        "두드리", "두드려", "knock", "문을", "at the door", sound="door", motion=0.4, mood="mysterious"
    ),
    "melt": Verb("녹", "녹아", "melt", "스르르", "away", sound="stream", motion=0.4, mood="sad"),
    "guard": Verb("지키", "지켜", "guard", "모두를", "everyone", motion=0.3, mood="epic"),
    "collect": Verb(
        "모으", "모아", "collect", "하나씩", "one by one", sound="chime", motion=0.5, mood="calm"
    ),
    "carry": Verb("나르", "날라", "carry", "부지런히", "it along", sound="steps", motion=0.5, mood="calm"),
}
"""By the action's id: those of the lexicon and of `words.ACTIONS_KO` and `words.ACTIONS_EN`."""
