"""What the commands have in common that make task packs in the tokens of a pack of texts."""

from collections.abc import Callable
from pathlib import Path

from packs.command import DATA, command_parser, print_file
from packs.recompress import recompress
from packs.sources import prepare_sources
from packs.task_pack import TaskPack, read_tokens, write_task_pack
from packs.tokens import TokenTable

from .suite import MANIFEST
from .tasks import Inputs, read_inputs


def make_pack_in_tokens(
    description: str,
    name: str,
    make: Callable[[Inputs, TokenTable], TaskPack],
    describe: Callable[[TaskPack], list[str]],
    committed: bool = True,
) -> None:
    """name: of the file, in data/ where it is committed, else in the cache."""
    parser = command_parser(description)
    parser.add_argument("--tokens", type=Path, default=DATA / "text.h5", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help=f"default: {DATA if committed else 'CACHE'}/{name}")
    arguments = parser.parse_args()
    inputs = read_inputs(prepare_sources(MANIFEST, arguments.cache))
    pack = make(inputs, read_tokens(arguments.tokens))
    print("\n".join(describe(pack)))
    output = arguments.output or (DATA if committed else arguments.cache) / name
    write_task_pack(output, pack)
    if committed:
        recompress(output)
    print_file(output)
