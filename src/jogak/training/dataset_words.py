"""What the doctor says, in both languages: for each finding, what it is and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jogak.spec.dataset import CaptionLang, Finding
from jogak.training.dataset_layout import Found


class Words(NamedTuple):
    """Sentences with the names of facts in braces."""

    en: str
    en_todo: str
    ko: str
    ko_todo: str


WORDS: Mapping[str, Words] = MappingProxyType({
    # ---------------------------------------------------------------- the folder
    "no_pictures": Words(
        "There is no picture in the folder.",
        "Put 20 to 30 PNG, JPEG or WebP pictures into it, or into a folder in it named like 10_name.",
        "폴더에 그림이 없습니다.",
        "PNG, JPEG, WebP 그림 20–30장을 이 폴더나 그 안의 10_이름 꼴 폴더에 넣으세요.",
    ),
    "too_many": Words(
        "There are {count} pictures; at most {most} are read.",
        "Choose the best; a character needs 20 to 30, a style 50 to 300.",
        "그림이 {count}장입니다. {most}장까지만 읽습니다.",
        "좋은 그림만 고르세요. 캐릭터는 20–30장, 화풍은 50–300장이면 됩니다.",
    ),
    "folder_skipped": Words(
        "These folders hold pictures that would be skipped.",
        "Name each like 10_name (10 is how often its pictures count), directly in the data set's folder.",
        "이 폴더 안의 그림은 학습에서 빠집니다.",
        "데이터셋 폴더 바로 아래에 10_이름 꼴로 두세요. 10은 한 에포크에 그림을 보는 횟수입니다.",
    ),
    "folder_without_number": Words(
        "These folders lie beside folders like 10_name but have no number, so they would be skipped.",
        "Put a number and _ before the name, or move the folder elsewhere.",
        "10_이름 꼴 폴더 옆에 숫자 없는 폴더가 있어 학습에서 빠집니다.",
        "이름 앞에 숫자와 _를 붙이거나 다른 곳으로 옮기세요.",
    ),
    "loose_pictures": Words(
        "Pictures lie beside folders like 10_name, so they would be skipped.",
        "Move them into one of these folders.",
        "10_이름 꼴 폴더 밖에 놓인 그림은 학습에서 빠집니다.",
        "그 폴더들 가운데 하나로 옮기세요.",
    ),
    "bad_folder_name": Words(
        "The name of this folder gives no repeats from 1 to {most}, or no name after the _.",
        "Name it like 10_name.",
        "폴더 이름의 반복 수가 1–{most}가 아니거나 _ 뒤에 이름이 없습니다.",
        "10_이름 꼴로 고치세요.",
    ),
    "empty_folder": Words(
        "This folder holds no pictures, so it would be skipped.",
        "Put pictures into it, or remove it.",
        "그림이 없는 폴더라 학습에서 빠집니다.",
        "그림을 넣거나 폴더를 지우세요.",
    ),
    "bad_name": Words(
        "These names have letters that cannot be read or printed.",
        "Rename them with plain letters.",
        "읽거나 표시할 수 없는 글자가 이름에 있습니다.",
        "평범한 글자로 이름을 바꾸세요.",
    ),
    "link_outside": Words(
        "These are links that lead out of the folder, or nowhere.",
        "Copy the files themselves here.",
        "폴더 밖을 가리키거나 끊어진 링크입니다.",
        "파일 자체를 이 폴더로 복사하세요.",
    ),
    "link_folder": Words(
        "These are links to folders, so what is in them would be skipped.",
        "Copy the folder itself here.",
        "폴더를 가리키는 링크라 그 안의 그림이 빠집니다.",
        "폴더 자체를 복사하세요.",
    ),
    "not_a_file": Words(
        "These are no regular files (pipes or devices).",
        "Remove them.",
        "보통 파일이 아닙니다(파이프나 장치).",
        "지우세요.",
    ),
    "unread_format": Words(
        "These pictures have a format that is not read, so they would be missing.",
        "Save them as PNG, or move them elsewhere.",
        "읽지 않는 형식의 그림이라 학습에서 빠집니다.",
        "PNG로 저장하거나 다른 곳으로 옮기세요.",
    ),
    "same_stem": Words(
        "These pictures differ only in the ending of their names, so they share one caption.",
        "Rename one of each pair.",
        "확장자만 다른 그림들이라 캡션 하나를 같이 씁니다.",
        "둘 중 하나의 이름을 바꾸세요.",
    ),
    "two_captions": Words(
        "A picture has both a .txt and a .caption; the .txt counts.",
        "Remove the one you do not want.",
        "그림 하나에 .txt와 .caption이 모두 있습니다. .txt를 씁니다.",
        "필요 없는 쪽을 지우세요.",
    ),
    "caption_alone": Words(
        "These captions have no picture beside them.",
        "Give them the name of their picture, or remove them.",
        "짝이 되는 그림이 없는 캡션입니다.",
        "그림과 같은 이름으로 바꾸거나 지우세요.",
    ),
    "changed": Words(
        "These pictures are not what dataset.json says of them, or are gone.",
        "Make the data set again with jogak dataset make.",
        "dataset.json에 적힌 그림과 다르거나 없어졌습니다.",
        "jogak dataset make로 데이터셋을 다시 만드세요.",
    ),
    "not_in_set": Words(
        "These pictures were added after dataset.json was written, so training would skip them.",
        "Make the data set again from the originals, or remove dataset.json.",
        "dataset.json을 만든 뒤에 더해진 그림이라 학습에서 빠집니다.",
        "원본으로 데이터셋을 다시 만들거나 dataset.json을 지우세요.",
    ),
    "bad_dataset_file": Words(
        "dataset.json cannot be read: {reason}",
        "Make the data set again, or remove dataset.json.",
        "dataset.json을 읽을 수 없습니다: {reason}",
        "데이터셋을 다시 만들거나 dataset.json을 지우세요.",
    ),
    # ---------------------------------------------------------------- the pictures
    "unreadable": Words(
        "A picture cannot be used: {reason}",
        "Save it anew as PNG, or remove it.",
        "쓸 수 없는 그림입니다. {reason_ko}",
        "PNG로 다시 저장하거나 빼세요.",
    ),
    "tiny": Words(
        "These pictures have a side below {least} pixels.",
        "Find them larger, or remove them.",
        "한 변이 {least}픽셀도 안 되는 그림입니다.",
        "더 큰 그림을 구하거나 빼세요.",
    ),
    "one": Words(
        "There is one picture only: it would be learned by heart, pose, background and all, and none is left "
        "to check against.",
        "Add 10 to 30 pictures of the same subject in other poses and places.",
        "그림이 한 장뿐입니다. 자세와 배경까지 통째로 외우게 되고, 검증할 그림도 남지 않습니다.",
        "같은 대상을 다른 자세와 장소에서 담은 그림 10–30장을 더하세요.",
    ),
    "few": Words(
        "There are {count} pictures; below {least} the poses and backgrounds are learned along.",
        "Add more, 20 to 30 for a character; or train fewer steps.",
        "그림이 {count}장입니다. {least}장보다 적으면 자세와 배경까지 외우기 쉽습니다.",
        "캐릭터라면 20–30장까지 늘리거나, 더 적은 스텝으로 학습하세요.",
    ),
    "small": Words(
        "{count} pictures are smaller than {size}×{size} and would be enlarged, the smallest {factor} times.",
        "Find them larger, or train at a smaller --size.",
        "{count}장이 {size}×{size}보다 작아 늘려야 합니다. 가장 작은 것은 {factor}배입니다.",
        "더 큰 그림을 구하거나 --size를 줄이세요.",
    ),
    "long_picture": Words(
        "{count} pictures are so long that more than {share} % would be cut away.",
        "Cut them yourself to what matters.",
        "{count}장은 너무 길쭉해서 {share} % 넘게 잘립니다.",
        "중요한 부분만 남기고 직접 자르세요.",
    ),
    "blurred": Words(
        "{count} pictures are blurred: edges are {blur} pixels soft and more at the training size.",
        "Replace them; a blur is learned as part of the subject.",
        "{count}장이 흐립니다. 학습 크기에서 윤곽이 {blur}픽셀 넘게 번져 있습니다.",
        "바꾸세요. 흐림도 대상의 일부로 배웁니다.",
    ),
    "blank": Words(
        "These pictures show nothing but one even surface.",
        "Remove them.",
        "아무것도 그려지지 않은 그림입니다.",
        "빼세요.",
    ),
    "identical": Words(
        "These files are the same picture, byte for byte.",
        "Keep one; use the folder's number to count a picture more often.",
        "바이트까지 똑같은 그림입니다.",
        "하나만 남기세요. 더 자주 보게 하려면 폴더 이름의 숫자를 쓰세요.",
    ),
    "near_duplicate": Words(
        "These pictures are nearly the same.",
        "Keep the best; what is there twice is learned twice as hard.",
        "거의 같은 그림입니다.",
        "가장 좋은 것만 남기세요. 두 번 있으면 두 배로 배웁니다.",
    ),
    "mirrored": Words(
        "These pictures are mirror images of each other.",
        "Fine for a symmetric subject (or use --flip when training); remove one if left and right matter.",
        "서로 좌우가 뒤집힌 그림입니다.",
        "좌우가 같은 대상이면 괜찮습니다(학습할 때 --flip을 써도 됩니다). 좌우가 다르면 하나를 빼세요.",
    ),
    "backgrounds_alike": Words(
        "{count} of {of} pictures have the same background, and their captions do not name it.",
        "Vary the background, or write it into the captions ({example}), so that it is not learned as a part "
        "of the subject.",
        "{of}장 중 {count}장의 배경이 같은데 캡션에 배경이 적혀 있지 않습니다.",
        "배경을 다양하게 하거나 캡션에 적으세요({example}). 그래야 배경이 대상의 일부로 굳지 않습니다.",
    ),
    "poses_alike": Words(
        "The subject has nearly the same outline in all pictures (they overlap by {overlap} %).",
        "Add other poses, angles and distances, or only this one can be drawn.",
        "모든 그림에서 대상의 윤곽이 거의 같습니다({overlap} % 겹침).",
        "다른 자세, 각도, 거리의 그림을 더하세요. 그러지 않으면 이 자세만 그려집니다.",
    ),
    "framing_alike": Words(
        "The subject is at the same place and of the same size in all pictures.",
        "Add close-ups, distant views, and pictures with the subject at a side.",
        "모든 그림에서 대상의 위치와 크기가 같습니다.",
        "가까이서, 멀리서, 한쪽으로 치우친 그림을 더하세요.",
    ),
    # ---------------------------------------------------------------- the words
    "bad_caption": Words(
        "A caption cannot be used: {reason}",
        "Save it as plain text in UTF-8.",
        "쓸 수 없는 캡션입니다. {reason_ko}",
        "UTF-8 일반 텍스트로 저장하세요.",
    ),
    "no_captions": Words(
        "No picture has a caption.",
        "jogak dataset make writes them; without, the whole picture is learned as one thing.",
        "캡션이 하나도 없습니다.",
        "jogak dataset make가 써 줍니다. 없으면 그림 전체를 한 덩어리로 배웁니다.",
    ),
    "without_caption": Words(
        "{count} pictures have no caption while others have.",
        "Write theirs, or let jogak dataset make write them.",
        "{count}장에만 캡션이 없습니다.",
        "직접 쓰거나 jogak dataset make에 맡기세요.",
    ),
    "empty_caption": Words(
        "{count} captions are empty.",
        "Write them, or let jogak dataset make write them.",
        "캡션 {count}개가 비어 있습니다.",
        "직접 쓰거나 jogak dataset make에 맡기세요.",
    ),
    "same_captions": Words(
        '{count} pictures have the same caption: "{caption}"',
        "Say what differs: pose, place, light, view.",
        "{count}장의 캡션이 똑같습니다: “{caption}”",
        "자세, 장소, 빛, 구도처럼 서로 다른 점을 적으세요.",
    ),
    "several_lines": Words(
        "{count} captions have several lines; only the first is read.",
        "Write them as one line.",
        "캡션 {count}개가 여러 줄입니다. 첫 줄만 읽습니다.",
        "한 줄로 쓰세요.",
    ),
    "long_caption": Words(
        "{count} captions have more than {most} words and signs; what lies beyond is cut off by the model.",
        "Say the important things first, and less.",
        "캡션 {count}개가 낱말과 부호 {most}개를 넘습니다. 넘친 부분은 모델이 잘라 냅니다.",
        "중요한 것부터 짧게 쓰세요.",
    ),
    "leakage": Words(
        '"{word}" is in {count} of {of} captions, so it will carry what the trigger word should.',
        "If it belongs to the subject (colour, clothes, face), delete it from the captions; if it says what "
        "the subject is, keep it and name it with --class.",
        "“{word}”(이)라는 말이 캡션 {of}개 중 {count}개에 있어, 트리거 단어가 배워야 할 것을 대신 가져갑니다.",
        "대상의 특징(색, 옷, 얼굴)이면 캡션에서 지우고, 대상의 종류라면 두고 --class로 알려 주세요.",
    ),
    "no_trigger": Words(
        "No trigger word is known: the captions have no made-up word in common.",
        "Choose one, such as sk_style; jogak dataset make --trigger sk_style puts it into every caption.",
        "트리거 단어가 없습니다. 모든 캡션에 함께 들어 있는 고유한 말이 없습니다.",
        "sk_style처럼 하나 정하세요. jogak dataset make --trigger sk_style이 모든 캡션에 넣습니다.",
    ),
    "trigger_missing": Words(
        'The trigger word "{trigger}" is missing from {count} of {of} captions.',
        "Put it first in each; jogak dataset make --trigger {trigger} does.",
        "트리거 단어 “{trigger}”가 캡션 {of}개 중 {count}개에 없습니다.",
        "맨 앞에 넣으세요. jogak dataset make --trigger {trigger}가 해 줍니다.",
    ),
    "trigger_not_first": Words(
        'The trigger word "{trigger}" is not the first word in {count} captions.',
        "First is where it weighs most; jogak dataset make puts it there.",
        "캡션 {count}개에서 트리거 단어 “{trigger}”가 맨 앞이 아닙니다.",
        "맨 앞에서 가장 힘이 셉니다. jogak dataset make가 옮겨 줍니다.",
    ),
    "trigger_is_word": Words(
        'The trigger word "{trigger}" is a word the model knows ({means}); training would bend that, and what '
        "is known would leak into yours.",
        "Choose a made-up word, such as {better}.",
        "트리거 단어 “{trigger}”는 모델이 이미 아는 말입니다({means}). 그 뜻이 망가지고 원래 뜻도 섞여 나옵니다.",
        "{better}처럼 없는 말로 정하세요.",
    ),
    "trigger_not_usable": Words(
        'The trigger word "{trigger}" has signs that prompts give a meaning, or is too long.',
        "Use letters, digits, _ and -, at most 40.",
        "트리거 단어 “{trigger}”에 프롬프트 문법에 쓰이는 부호가 있거나 너무 깁니다.",
        "글자, 숫자, _, -만으로 40자 안에서 정하세요.",
    ),
    # ---------------------------------------------------------------- the licence
    "no_licence": Words(
        "Nothing says who made the pictures and what may be done with them.",
        "Add a LICENSE.txt: where they come from, who made them, what is allowed.",
        "그림을 누가 만들었고 어디까지 써도 되는지 적혀 있지 않습니다.",
        "LICENSE.txt에 출처, 만든 사람, 허용 범위를 적어 두세요.",
    ),
})  # fmt: skip


def say(found: Found, lang: CaptionLang) -> Finding:
    """A finding in words."""
    words = WORDS[found.name]
    what, todo = (words.en, words.en_todo) if lang == "en" else (words.ko, words.ko_todo)
    return Finding(
        name=found.name,
        severity=found.severity,
        what=what.format(**found.facts),
        todo=todo.format(**found.facts),
        files=found.files,
        facts=found.facts,
    )
