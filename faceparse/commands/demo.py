"""A page in the browser that cuts faces, hair and people out of photos."""

from __future__ import annotations

import argparse
import signal
import time

from faceparse.commands import Parser, finish, whole_from

LOCAL = "127.0.0.1"


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser("demo", "Serve a page for this computer's browser: drop a photo, see and save what is cut out.")
    flag = parser.add_argument
    everybody = "0.0.0.0 lets everybody in the network use the page (a camera needs https there)"
    flag("--host", default=LOCAL, metavar="ADDRESS", help=f"where to listen; {everybody} (default: this computer only)")
    flag("--port", type=whole_from(1), metavar="N", help="port to listen on (default: the first free one from 7860)")
    flag("--open", action="store_true", help="also open the page in the browser (default: off)")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    return create_parser().read(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C; 1 where Gradio or the address is missing."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Serve until somebody ends it; a polite kill tidies up as Ctrl-C does."""
    from faceparse.demo import serving

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with serving(args.host, args.port, args.open) as url:
        print(f"{url} is open until Ctrl-C ends it", flush=True)
        try:
            while True:
                time.sleep(1)  # Windows hears no Ctrl-C in a wait without end
        except KeyboardInterrupt:
            print("closed")
    return 0
