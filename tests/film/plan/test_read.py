"""What the reader understands of Korean, English and emoji briefs."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from jogak.film.plan.read import language, read
from jogak.models.lexicon import lexicon
from jogak.spec import SpecError


class Case(NamedTuple):
    text: str
    subjects: str = ""
    """Concept ids in the brief's order; nothing else may be found."""
    places: str = ""
    times: str = ""
    weathers: str = ""
    mood: str | None = None
    acts: str = ""


CASES = [
    # plain briefs
    Case("노을 지는 초원에서 빨간 풍선을 쫓는 여우", "balloon fox", "meadow", "sunset", acts="chase"),
    Case("비 오는 밤, 외로운 로봇이 바다로 여행을 떠난다", "robot", "sea", "night", "rain", "sad", "travel"),
    Case("눈 오는 숲속에서 춤추는 토끼 두 마리", "rabbit", "forest", "", "snow", None, "dance"),
    Case("안개 낀 아침, 호숫가의 백조", "swan", "river", "morning", "fog"),
    Case("신비로운 바닷속을 헤엄치는 인어", "mermaid", "underwater", mood="mysterious", acts="swim"),
    Case("무서운 용과 싸우는 용감한 공주", "dragon princess", mood="tense", acts="fight"),
    Case("우주비행사가 우주에서 외계인을 만난다", "astronaut alien", "space", acts="meet"),
    Case("흐린 날 거리를 걷는 할아버지", "old_man", "city", "", "cloudy", None, "walk"),
    Case("맑은 날 공원에서 공을 쫓는 강아지", "dog soccer_ball", "garden", "", "clear", None, "chase"),
    Case("할머니가 부엌에서 케이크를 굽는다", "old_woman birthday_cake", "room", acts="cook"),
    Case("A fox in a meadow at sunset", "fox", "meadow", "sunset"),
    Case("A rainy night: two cats chase a ball", "cat soccer_ball", "", "night", "rain", None, "chase"),
    Case("a lonely robot walks through the snow", "robot", "", "", "snow", "sad", "walk"),
    Case("An owl sings in a foggy forest", "owl", "forest", "", "fog", None, "sing"),
    Case("A wizard reads a book in his room at midnight", "wizard open_book", "room", "night", acts="read"),
    Case("Penguins dance in the snowy field", "penguin", "snowfield", acts="dance"),
    Case("A peaceful morning on the farm: three pigs sleep", "pig", "farm", "morning", "", "calm", "sleep"),
    Case("A mermaid swims under the sea", "mermaid", "underwater", acts="swim"),
    Case("The astronaut finds a flower in outer space", "astronaut flower", "space", acts="find"),
    Case("A funny clown rides a bicycle in the city", "clown bicycle", "city", mood="playful", acts="ride"),
    # the same letters, another word
    Case("고양이가 양이 사는 들판을 지나간다", "cat sheep", "meadow", acts="walk"),
    Case("고양이의 하루", "cat"),
    Case("나비와 비행기가 하늘을 난다", "butterfly airplane", "sky", acts="fly"),
    Case("비둘기가 비누를 물고 간다", "dove bar_of_soap", acts="travel"),
    Case("비가 오면 달팽이가 산책한다", "snail", "", "", "rain", None, "walk"),
    Case("소원을 비는 소녀", "girl", acts="wish"),
    Case("눈이 큰 부엉이가 나무에 앉아 있다", "owl tree"),
    Case("눈이 내리는 마을의 강아지", "dog", "village", "", "snow"),
    Case("눈을 감은 고양이", "cat"),
    Case("눈사람이 녹는다", "snowman", acts="melt"),
    Case("배를 타고 바다를 항해하는 곰", "ship bear", "sea", acts="ride travel"),
    Case("배가 고픈 곰", "bear", acts="eat"),
    Case("배를 먹는 원숭이", "monkey", acts="eat"),
    Case("밤에 알밤을 줍는 다람쥐", "chestnut squirrel", "", "night", acts="collect"),
    Case("밤을 구워 먹는 너구리", "chestnut raccoon", acts="cook eat"),
    Case("말을 타고 초원을 달리는 소년", "horse boy", "meadow", acts="ride run"),
    Case("말없이 걷는 소년", "boy", acts="walk"),
    Case("거짓말을 한 소년", "boy"),
    Case("개구리 세 개의 연꽃", "frog lotus"),
    Case("사과 두 개를 나눠 먹는 개", "apple dog", acts="give eat"),
    Case("차를 마시는 토끼", "cup_of_tea rabbit", acts="drink"),
    Case("빨간 차를 운전하는 곰", "car bear", acts="drive"),
    Case("해가 지는 바닷가", "", "beach", "sunset"),
    Case("해가 뜨는 산속의 염소", "goat", "mountains", "morning"),
    Case("낮은 언덕 위의 양", "sheep", "mountains"),
    Case("새 자전거를 탄 아이", "bicycle child", acts="ride"),
    Case("새 한 마리가 노래한다", "bird", acts="sing"),
    Case("그림책을 읽는 아이", "child", acts="read"),
    Case("파리를 여행하는 개", "dog", acts="travel"),
    Case("A bear cannot bear the cold", "bear"),
    Case("A bare tree and a bear", "tree bear"),
    Case("The fox saw a duck", "fox duck"),
    Case("a man with a saw builds a house", "man saw house", acts="build"),
    Case("The duck ducks under a bridge", "duck"),
    Case("A dog barks at the moon", "dog full_moon", "", "night"),
    Case("leaves fall on a sleeping fox", "leaf fox", acts="fall sleep"),
    Case("He watches a ship at sea", "ship", "sea", acts="look"),
    Case("mice eat cheese", "mouse wedge_of_cheese", acts="eat"),
    Case("Wolves run through the forest", "wolf", "forest", acts="run"),
    Case("polar bear", "polar_bear"),
    Case("곰 인형과 북극곰", "teddy_bear polar_bear"),
    Case("소방차를 운전하는 소방관", "fire_engine firefighter", acts="drive"),
    Case("여우 가족이 눈밭에서 논다", "fox", "snowfield", acts="play"),
    Case("산다는 것은 무엇인가, 곰이다", "bear"),
    Case("A detective looks for a missing cat", "detective cat", acts="find"),
    Case("Grandpa fishes at dawn", "old_man", "", "morning", acts="fish"),
    # emoji and mixtures
    Case("🦊🌊", "fox", "sea"),
    Case("🐧❄️", "penguin", "snowfield", "", "snow"),
    Case("robot이 바다에서 춤춘다", "robot", "sea", acts="dance"),
    # changes
    Case("비가 그치고 무지개가 뜬 마을의 강아지", "rainbow dog", "village", "", "rain clear"),
    Case("아침부터 밤까지 기다리는 강아지", "dog", "", "morning night", acts="wait"),
    Case("숲을 지나 사막으로 가는 낙타", "camel", "forest desert", acts="walk travel"),
    Case("From the forest to the sea, a turtle travels", "turtle", "forest sea", acts="travel"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.text for case in CASES])
def test_a_brief_is_understood(case: Case) -> None:
    reading = read(case.text)
    assert sorted(m.concept for m in reading.mentions) == sorted(case.subjects.split())
    assert list(reading.places) == case.places.split()
    assert list(reading.times) == case.times.split()
    assert list(reading.weathers) == case.weathers.split()
    assert reading.mood == case.mood
    assert {act.id for act in reading.acts} == set(case.acts.split())


def test_there_are_enough_cases_in_both_languages() -> None:
    assert sum(language(case.text) == "ko" for case in CASES) >= 40
    assert sum(language(case.text) == "en" for case in CASES) >= 20


@pytest.mark.parametrize(
    ("text", "concept", "count", "colour", "words", "name", "role"),
    [
        ("외로운 작은 여우 두두가 달린다", "fox", 1, None, "외로운 작은 여우", "두두", "subject"),
        ("두두라는 여우가 잠든다", "fox", 1, None, "여우", "두두", "subject"),
        ("고양이 두 마리가 논다", "cat", 2, None, "고양이", "", "subject"),
        ("세 마리의 펭귄", "penguin", 3, None, "펭귄", "", ""),
        ("토끼들이 뛰어논다", "rabbit", 2, None, "토끼", "", "subject"),
        ("파란 우산을 든 개", "umbrella", 1, "blue", "파란 우산", "", "object"),
        ("강아지와 산책하는 소녀", "dog", 1, None, "강아지", "", "with"),
        ("아기 펭귄이 걷는다", "penguin", 1, None, "아기 펭귄", "", "subject"),
        ("꼬마 마법사의 비밀", "wizard", 1, None, "꼬마 마법사", "", "object"),
        ("강아지가 달린다", "dog", 1, None, "강아지", "", "subject"),
        ("three little pigs", "pig", 3, None, "little pig", "", "subject"),
        ("a pair of red balloons", "balloon", 2, "red", "red balloon", "", "object"),
        ("a fox named Dudu runs", "fox", 1, None, "fox", "Dudu", "subject"),
        ("Dudu the fox runs", "fox", 1, None, "fox", "Dudu", "subject"),
        ("the fox's tail", "fox", 1, None, "fox", "", "subject"),
        ("A KITTEN sleeps", "cat", 1, None, "kitten", "", "subject"),
    ],
)
def test_a_thing_is_described(
    text: str, concept: str, count: int, colour: str | None, words: str, name: str, role: str
) -> None:
    mention = next(m for m in read(text).mentions if m.concept == concept)
    assert (mention.count, mention.colour, mention.words, mention.name, mention.role) == (
        count,
        colour,
        words,
        name,
        role,
    )


def test_more_than_three_are_reduced_and_said_so() -> None:
    reading = read("고양이 열 마리가 춤춘다")
    assert reading.mentions[0].count == 3
    assert "셋" in reading.notes[0]


@pytest.mark.parametrize(
    ("text", "act", "phrase", "wished"),
    [
        ("하늘을 날고 싶은 펭귄", "fly", "하늘을", True),
        ("바다가 보고 싶은 고양이", "miss", "바다가", False),
        ("잃어버린 모자를 찾는 곰", "find", "모자를", False),
        ("춤을 배우는 로봇", "dance", "", True),
        ("친구를 기다리는 소녀", "wait", "친구를", False),
        ("a fox dreams of flying to the moon", "fly", "to the moon", True),
        ("the robot learns to dance", "dance", "", True),
        ("an old man rows his boat across the lake", "ride", "his boat", False),
        ("The bear looks for a lost sock and sleeps", "find", "a lost sock", False),
    ],
)
def test_what_happens_keeps_its_words(text: str, act: str, phrase: str, wished: bool) -> None:
    found = next(a for a in read(text).acts if a.id == act)
    assert (found.phrase, found.wished) == (phrase, wished)


def test_a_place_to_go_to_is_told_from_one_to_be_in() -> None:
    assert read("로봇이 바다로 떠난다").goal
    assert read("바다를 보고 싶은 고양이").goal
    assert read("a cat travels to the sea").goal
    assert not read("바다에서 노는 고양이").goal
    assert not read("a cat in the middle of the city").goal
    assert read("여우가 달에 간다").places == ("space",)


def test_what_pocket_cannot_draw_is_named_with_what_is_drawn_for_it() -> None:
    knight = read("용감한 기사가 달린다")
    assert knight.mentions[0].concept == "fencer"
    assert "기사" in knight.notes[0]
    assert not knight.mentions[0].exact
    bluebird = read("A hummingbird flies")
    assert bluebird.mentions[0].concept == "bird"
    assert "hummingbird" in bluebird.notes[0]
    cave = read("동굴에 사는 곰")
    assert cave.places == ("mountains",)
    assert "동굴" in cave.notes[0]
    unknown = read("The florbnik sings")
    assert unknown.mentions == ()
    assert "florbnik" in unknown.notes[0]


def test_a_look_is_a_style_and_no_thing() -> None:
    looks = {look.id: look for look in lexicon().looks}
    for look in looks.values():
        assert read(f"{look.ko} 느낌의 여우").look == look.id or read(f"{look.ko}, 여우").look == look.id
        assert read(f"a fox in {look.en} style").look == look.id
    assert read("a flat road and a fox").look is None
    assert read("a clay pot").look is None
    for other in ("수선화 옆의 여우", "선화가 숲으로 달려간다", "a fox sees the outline of a castle"):
        assert read(other).look is None


@pytest.mark.parametrize(
    ("text", "instruments", "pace", "key", "drums"),
    [
        ("피아노 음악이 흐르는 바닷가의 고양이", ("piano",), 0, None, None),
        ("음악은 하프와 플루트로", ("harp", "flute"), 0, None, None),
        ("a fox runs, fast drums", (), 1, None, True),
        ("gentle piano music in A minor, a cat", ("piano",), -1, "A minor", None),
        ("재즈가 흐르는 밤의 고양이", ("clarinet", "piano", "bass"), 0, None, True),
        ("드럼 없이 첼로 곡", ("cello",), 0, None, False),
        ("올림바단조의 느린 음악", (), -1, "F# minor", None),
        ("a minor problem for a cat", (), 0, None, None),
        ("바이올린을 켜는 곰", (), 0, None, None),
    ],
)
def test_music_is_wished_for(
    text: str, instruments: tuple[str, ...], pace: int, key: str | None, drums: bool | None
) -> None:
    wish = read(text).music
    assert (wish.instruments, wish.pace, wish.key, wish.drums) == (instruments, pace, key, drums)


def test_an_instrument_of_the_music_is_no_thing_of_the_story() -> None:
    assert [m.concept for m in read("피아노 음악, 고양이").mentions] == ["cat"]
    assert {m.concept for m in read("피아노를 치는 고양이").mentions} == {"piano", "cat"}


@pytest.mark.parametrize("text", ["", "   ", "\n", "...", "123 !!", "🫨🫠", "a\x00b", "\x1b[31mred", "\x7f"])
def test_what_is_no_brief_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_other_languages_are_said_not_to_be_read() -> None:
    for text in ("夕焼けの草原を走る狐", "ثعلب في المرج", "Лиса на закате"):
        reading = read(text)
        assert reading.mentions == ()
        assert "openai" in reading.notes[0]
