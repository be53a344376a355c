"""`jogak report`: what a run of pictures was, on a few pages. Importing this imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.spec import SpecError


def report(
    run: Annotated[
        str, Parameter(help='the run\'s id, the beginning of one, or "last"; see: jogak runs list')
    ],
    /,
    *,
    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"), help="report.pdf, or report.html: one file that needs nothing beside it"
        ),
    ],
    lang: Annotated[
        Literal["ko", "en", "auto"], Parameter(help="language of the report; auto: that of the prompts")
    ] = "auto",
    scores: Annotated[
        Path | None,
        Parameter(help="a scores.json of jogak eval on the run's pictures, to be shown with them"),
    ] = None,
) -> None:
    """Write the report of a run of pictures: quality (40), control precision (40), reasoning (20).

    jogak report last -o report.pdf

    It shows the pictures, every score with its interval, every setting, what else was tried and why the chosen one
    won; what was not measured is named. It reads the store, and of a training the folder that it wrote (curve, sweep):
    nothing is drawn or measured anew.

    실행 하나의 보고서를 PDF나 HTML 한 파일로 씁니다.
    """
    if output.is_dir():
        output = output / "report.pdf"
    if output.suffix.lower() not in (".pdf", ".html"):
        raise SpecError(f"{output} ends in neither .pdf nor .html; name the file of the report so.")
    require_writable(output.parent)
    from jogak.report.picture_facts import gather, read_scores
    from jogak.report.picture_report import picture_html, picture_pdf, write_report
    from jogak.store import Store

    found = Store().run_record(run)
    facts = gather(
        found, lang=None if lang == "auto" else lang, scores=read_scores(scores) if scores else None
    )
    made = picture_pdf(facts) if output.suffix.lower() == ".pdf" else picture_html(facts).encode()
    write_report(output, made)
    print(
        f"{output}  {len(made) / 1e6:.1f} MB, run {found.id} ({found.journey}), {len(facts.pictures)} pictures"
    )
