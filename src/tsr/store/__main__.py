"""`python -m tsr.store`: look through a store, verify it, and make room."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tsr.store.collect import sweep, waste
from tsr.store.entries import Entry
from tsr.store.errors import StoreError
from tsr.store.layout import SHORT, STAGE
from tsr.store.manifest import faults, read_manifest
from tsr.store.store import Store

_DAY_S: Final = 86400.0
_COLUMNS: Final = ("kind", "when (UTC)", "key", "size", "seconds", "state")
_COLOURS: Final = {"running": "cyan", "partial": "yellow", "broken": "red"}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    args = _parser().parse_args(argv)
    try:
        status = int(args.command(_open(args.store), args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`) has enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except StoreError as error:
        print(error, file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tsr.store", description=__doc__)
    root = os.environ.get("TSR_STORE", "store")
    text = "the store's folder (default: $TSR_STORE, or ./store)"
    parser.add_argument("--store", type=Path, default=Path(root), help=text)
    # The same option after the command, where it leaves alone what was given before it.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", type=Path, default=argparse.SUPPRESS, help=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Any, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, parents=[common])
        sub.set_defaults(command=command)
        return sub

    key = "the beginning of a key is enough"
    add("ls", _ls, "list all stages").add_argument("--kind", help="of this kind only")
    add("show", _show, "all that is known of one stage").add_argument("key", help=key)
    add("verify", _verify, "hash every file again").add_argument("key", nargs="?", help=key)
    add("redo", _redo, "move a stage aside, to be made anew").add_argument("key", help=key)
    gc = add("gc", _gc, "find, and with --yes delete, what no run needs")
    gc.add_argument("--yes", action="store_true", help="delete it")
    gc.add_argument(
        "--older-than", type=float, default=0.0, metavar="DAYS", help="untouched so long"
    )
    return parser


def _open(root: Path) -> Store:
    if not root.is_dir():
        raise StoreError(
            f"there is no store at {root}; give its folder as --store or in $TSR_STORE"
        )
    return Store(root)


def _ls(store: Store, args: argparse.Namespace) -> int:
    rows = sorted(_rows(store, args.kind))
    if rows:
        _say(_line(_COLUMNS), "bold")
    for row in rows:
        _say(_line(row), _COLOURS.get(row[-1]))
    return 0


def _rows(store: Store, only: str | None) -> Iterator[tuple[str, ...]]:
    for entry in store.entries(only):
        try:
            seconds = entry.record.get("seconds")
            when = entry.when.removesuffix("+00:00")
            took = "" if seconds is None else f"{seconds:,.1f}"
            yield entry.kind, when, entry.short, _size(entry.bytes), took, entry.state
        except FileNotFoundError:  # published, or deleted, since it was listed
            continue


def _line(row: tuple[str, ...]) -> str:
    kind, when, short, size, seconds, state = row
    return f"{kind:<12} {short:<{SHORT}} {size:>9} {seconds:>11}  {when:<19}  {state}"


def _show(store: Store, args: argparse.Namespace) -> int:
    entry = store.find(args.key)[0]
    about: dict[str, Any] = {"state": entry.state, "folder": str(entry.folder)}
    if (entry.folder / STAGE).exists():
        about |= entry.about
    about["record"] = entry.record
    about["files"] = _files(entry)
    about["used by"] = _users(store, entry)
    _say(yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100).rstrip())
    return 0


def _files(entry: Entry) -> dict[str, Any]:
    if entry.state != "done":
        paths = sorted(p for p in entry.folder.rglob("*") if p.is_file())
        return {p.relative_to(entry.folder).as_posix(): p.stat().st_size for p in paths}
    try:
        return dict(read_manifest(entry.folder)["files"])
    except ValueError as error:
        raise StoreError(f"{entry.folder}/manifest.json: {error}; see `verify`") from error


def _users(store: Store, entry: Entry) -> list[str]:
    key = str(entry.about["key"]) if (entry.folder / STAGE).exists() else entry.short
    users = [
        f"{other.kind} {other.short}"
        for other in store.entries()
        if other.short != entry.short and _mentions(other.folder / STAGE, key)
    ]
    roots = store.layout.roots.glob("*.json")
    return sorted(users) + sorted(f"run {path.stem}" for path in roots if _mentions(path, key))


def _mentions(path: Path, key: str) -> bool:
    # Keys are long enough that finding one in the text is finding it among the inputs.
    return path.exists() and key in path.read_text()


def _verify(store: Store, args: argparse.Namespace) -> int:
    chosen = store.find(args.key) if args.key else store.entries()
    checked = bad = 0
    for entry in chosen:
        if entry.state in ("done", "broken"):
            found = list(faults(entry.folder, by_hash=True))
            checked, bad = checked + 1, bad + bool(found)
            for name, fault in found:
                _say(f"damaged  {entry.kind} {entry.short}  {name}: {fault}", "red")
    _say(f"{checked} stages verified, {bad} damaged")
    if bad:
        _say("to make one anew: `python -m tsr.store redo KEY`, then run again")
    return 1 if bad else 0


def _redo(store: Store, args: argparse.Namespace) -> int:
    for path in store.redo(args.key):
        _say(f"moved to {path}; the next run makes it anew")
    return 0


def _gc(store: Store, args: argparse.Namespace) -> int:
    count = total = 0
    done = "deleted" if args.yes else "would delete"
    for item in list(waste(store, args.older_than * _DAY_S)):
        path = item.path.relative_to(store.root)
        if args.yes and not sweep(store, item):
            _say(f"{'in use':>12}  {path}")
            continue
        count, total = count + 1, total + item.bytes
        _say(f"{done:>12}  {_size(item.bytes):>9}  {path}  ({item.why})")
    hint = "" if args.yes or not count else "; nothing is deleted without --yes"
    _say(f"{count} things, {_size(total)}{hint}")
    return 0


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _say(text: str, style: str | None = None) -> None:
    if style and sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(text, style=style, markup=False)
    else:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
