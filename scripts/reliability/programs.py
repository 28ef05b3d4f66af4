"""The programs that the drivers run, as arguments: the orchestrator and the fixture children. Their names are
those of Cargo.toml."""

import pathlib
import sys

NAMES = {"server": "fixture-server", "hostile": "hostile-server"}


def add_programs(parser):
    parser.add_argument("--orchestrator", metavar="PATH", help="the program")
    parser.add_argument("--fixtures", metavar="FOLDER", help="folder of the fixture programs")
    parser.add_argument(
        "--check-arguments", action="store_true", help="end when these were understood; run nothing"
    )


def check_programs(parser, options):
    """Ends with --check-arguments; otherwise `options` name programs that are there."""
    if options.check_arguments:
        sys.exit()
    if not (options.orchestrator and options.fixtures):
        parser.error("--orchestrator and --fixtures are needed")
    options.orchestrator = str(pathlib.Path(options.orchestrator).resolve())
    folder = pathlib.Path(options.fixtures).resolve()
    options.fixtures = {kind: str(folder / name) for kind, name in NAMES.items()}
    for program in (options.orchestrator, *options.fixtures.values()):
        if not pathlib.Path(program).is_file():
            parser.error(f"{program} is not there; cargo build --bins --examples builds it")
