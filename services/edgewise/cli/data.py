"""`edgewise data`: samples from the field: list, show, label, delete, export, import; `data_build` makes datasets of them."""

import argparse
import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli import data_build
from edgewise.cli.data_filters import add_filters, asked_for
from edgewise.cli.hub_connection import (
    ENVIRONMENT,
    add_connection,
    add_json,
    add_verb,
    add_yes,
    check_asked,
    confirmed,
    connect,
    print_json,
)
from edgewise.cli.values import whole
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.hub.console.client import HubClient
    from edgewise.hub.labelling.entries import Found

DESCRIPTION = f"""\
Look at what sites captured, say what it shows, and carry it to and from other programs.

  edgewise data list --unlabelled --model pets
  edgewise data show 0f3c6a --picture sample.jpg
  edgewise data label 0f3c6a 91aa02 dog
  edgewise data delete 0f3c6a
  edgewise data export --format folder --out field
  edgewise data import --format label-studio project-1.json
  edgewise data build field --out datasets/pets-4

{ENVIRONMENT}"""
LABEL = """\
Say what samples show. With --file a table with a first line id,label; lines without a label are passed over. --clear takes labels back, whatever
they are. A sample that has another label keeps it and is told, and the exit code is 1: --force writes over it.

  edgewise data label 0f3c6a 91aa02 dog
  edgewise data label --file labels.csv
  edgewise data label --clear 0f3c6a

An ID has 32 digits, as `edgewise data list` shows them; the first 6 or more are enough where they mean one sample.
"""
DELETE = """\
Let samples go, labelled or not. Nobody is shown them from then on; their pictures leave the hub within two hours, unless another sample or a
release has the same one. It cannot be taken back, and the audit log has it.

  edgewise data delete 0f3c6a 91aa02
  edgewise data delete --yes 0f3c6a

An ID has 32 digits, as `edgewise data list` shows them; the first 6 or more are enough where they mean one sample.
"""
EXPORT = """\
Write the samples that are meant to a directory: whole, or not at all. Where there is no picture among them nothing is written, and the exit code is 1.

  folder        a folder for each class, samples.json beside them: what `edgewise data build` reads. Samples without a label are left out
  csv           labels.csv, and the pictures in images
  coco          annotations.json, and the pictures in images; one box around the whole picture is its class
  label-studio  tasks.json with what the model said as predictions, label-config.xml, and the pictures in images
"""
IMPORT = """\
Bring labels and pictures to the hub. An entry that names a sample of the hub, by its id or by its picture's name in an export, labels that; of any
other the picture is sent, with its label or without one. Pictures lie beside the file that names them; nothing is fetched from elsewhere. What
is wrong is not taken and told, entry by entry; the exit code is 1 then.

A label that somebody gave is not written over, unless the file remembers that the sample had it when it was exported: such entries are told one by
one, and the exit code is 1. Entries whose label is the exported one change nothing. --force writes over all that is otherwise.

  folder        DIR with a folder for each class
  csv           a file with a first line such as id,label or file,label,source; or an export's directory
  coco          annotations.json; or an export's directory
  label-studio  what Label Studio exports as JSON or JSON_MIN
"""
FORMATS = ("folder", "csv", "coco", "label-studio")
_LISTED = 50
_MOST_REFUSALS = 20


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "data",
        help="samples from the field: look at them, label them, carry them to and fro",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_list(verbs)
    _add_show(verbs)
    _add_label(verbs)
    _add_delete(verbs)
    _add_export(verbs)
    _add_import(verbs)
    data_build.add_to(verbs)


def _add_list(verbs: "Commands") -> None:
    listed = add_verb(verbs, "list", "list samples, the newest first")
    add_filters(listed)
    listed.add_argument(
        "--limit", type=whole(1, 1_000_000), default=_LISTED, metavar="N", help=f"so many at most (default {_LISTED})"
    )
    add_json(listed)
    add_connection(listed)
    listed.set_defaults(run=_list)


def _add_show(verbs: "Commands") -> None:
    shown = add_verb(verbs, "show", "show one sample")
    shown.add_argument("sample", metavar="ID", help="of the sample: its 32 digits, or the first of them, at least 6")
    shown.add_argument("--picture", type=Path, metavar="FILE", help="write its picture there")
    add_json(shown)
    add_connection(shown)
    shown.set_defaults(run=_show)


def _add_label(verbs: "Commands") -> None:
    labelled = add_verb(verbs, "label", "say what samples show", LABEL)
    labelled.add_argument("words", nargs="*", metavar="ID... LABEL", help="samples, and behind them what they show")
    labelled.add_argument("--file", type=Path, metavar="FILE", help="a table of ids and labels (CSV)")
    labelled.add_argument("--clear", nargs="+", default=[], metavar="ID", help="take the labels of these back")
    labelled.add_argument("--force", action="store_true", help="write over labels that samples have")
    add_connection(labelled)
    labelled.set_defaults(run=partial(_label, labelled))


def _add_delete(verbs: "Commands") -> None:
    deleted = add_verb(verbs, "delete", "let samples go", DELETE)
    deleted.add_argument("ids", nargs="+", metavar="ID", help="of the samples")
    add_yes(deleted)
    add_connection(deleted)
    deleted.set_defaults(run=partial(_delete, deleted))


def _add_export(verbs: "Commands") -> None:
    exported = add_verb(verbs, "export", "write samples to a directory", EXPORT)
    exported.add_argument("--format", choices=FORMATS, required=True, help="see above")
    exported.add_argument("--out", type=Path, required=True, metavar="DIR", help="that is not there, or is empty")
    add_filters(exported)
    exported.add_argument("--limit", type=whole(1), default=None, metavar="N", help="so many at most (all)")
    add_connection(exported)
    exported.set_defaults(run=_export)


def _add_import(verbs: "Commands") -> None:
    brought = add_verb(verbs, "import", "bring labels and pictures to the hub", IMPORT)
    brought.add_argument("--format", choices=FORMATS, required=True, help="see above")
    brought.add_argument("path", type=Path, metavar="PATH", help="the file or the directory")
    brought.add_argument(
        "--source", default="", metavar="NAME", help="of pictures whose entries name none: a dataset keeps one together"
    )
    brought.add_argument("--synthetic", action="store_true", help="a program made these pictures; they are marked so")
    brought.add_argument("--force", action="store_true", help="write over labels that others gave meanwhile")
    add_connection(brought)
    brought.set_defaults(run=_import)


def _list(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.data_text import samples_text, shown_of

    asked = asked_for(arguments)
    with connect(arguments) as client:
        samples = list(client.samples(asked, most=arguments.limit))
        counts = client.count_samples(asked) if samples and not arguments.json else None
    if arguments.json:
        print_json(samples)
        return 0
    print(samples_text(samples))
    if samples:
        print(shown_of(len(samples), counts), file=sys.stderr)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.data_text import sample_text
    from edgewise.hub.console.sample_names import whole_id

    with connect(arguments) as client:
        sample = client.sample(whole_id(client, arguments.sample))
        if arguments.picture is not None:
            try:
                arguments.picture.write_bytes(client.sample_picture(sample.id))
            except OSError as error:
                raise FailedPreconditionError(f"{arguments.picture} cannot be written: {error.strerror}") from error
    if arguments.json:
        print_json(sample)
    else:
        print(sample_text(sample))
    return 0


def _label(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.hub.labelling.shown import SAMPLE_ID

    ways = sum((bool(arguments.words), arguments.file is not None, bool(arguments.clear)))
    if ways != 1:
        command.error("say one of: ID... LABEL, --file FILE, --clear ID...")
    if arguments.file is not None:
        return _label_by_file(arguments)
    ids, label = (arguments.clear, "") if arguments.clear else (arguments.words[:-1], arguments.words[-1])
    if not ids or SAMPLE_ID.fullmatch(label):
        command.error("say ID... and behind them the LABEL, such as: edgewise data label 0f3c6a dog")
    return _label_these(arguments, ids, label)


def _label_these(arguments: argparse.Namespace, ids: list[str], label: str) -> int:
    from edgewise.core.wording import counted
    from edgewise.hub.console.data_import import label_all
    from edgewise.hub.console.sample_names import check_id, whole_id
    from edgewise.hub.console.text_tables import printable
    from edgewise.hub.labelling.shown import label_fault

    if label and (fault := label_fault(label)):
        raise InvalidArgumentError(fault)
    for one in ids:
        check_id(one)
    with connect(arguments) as client:
        whole = sorted({whole_id(client, one) for one in ids})
        seen = {} if arguments.force or not label else dict.fromkeys(whole, "")
        done = label_all(client, dict.fromkeys(whole, label), seen)
    how = f"labelled {label}" if label else "without a label"
    same = len(whole) - len(done.unknown) - len(done.kept) - done.changed
    before = f"{same:,} {'was' if same == 1 else 'were'} so before" if same else ""
    print(
        ", ".join(
            filter(None, (f"{counted(done.changed, 'sample')} {how}" if done.changed or not same else "", before))
        )
    )
    for one in sorted(done.unknown):
        print(f"edgewise: there is no sample {one}", file=sys.stderr)
    for kept in done.kept:
        print(f"edgewise: the sample {kept.id} {printable(kept.text)}; --force writes over that", file=sys.stderr)
    return 1 if done.unknown or done.kept else 0


def _label_by_file(arguments: argparse.Namespace) -> int:
    from edgewise.hub.labelling.csv_list import read

    found = read(arguments.file)
    without_id = [entry for entry in found.entries if not entry.sample_id]
    if without_id:
        raise InvalidArgumentError(
            f"{without_id[0].where}: names no id; pictures are brought with: edgewise data import --format csv"
        )
    with connect(arguments) as client:
        return _bring_in(client, found, force=arguments.force)


def _delete(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.core.wording import counted
    from edgewise.hub.console.data_text import short_text
    from edgewise.hub.console.sample_names import check_id, whole_id

    check_asked(command, yes=arguments.yes)
    for one in arguments.ids:
        check_id(one)
    gone = 0
    with connect(arguments) as client:
        # All are looked up before one goes.
        meant = [client.sample(one) for one in sorted({whole_id(client, one) for one in arguments.ids})]
        if not arguments.yes:
            print("\n".join(short_text(one) for one in meant))
        if not confirmed(f"Delete {counted(len(meant), 'sample')} for good?", yes=arguments.yes):
            print("nothing was done")
            return 1
        try:
            for one in meant:
                # Somebody else may have been first.
                with contextlib.suppress(NotFoundError):
                    client.delete_sample(one.id)
                gone += 1
        finally:
            print(f"{counted(gone, 'sample')} deleted")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from edgewise.core.wording import counted
    from edgewise.hub.console.meter import meter
    from edgewise.hub.labelling.exporting import export
    from edgewise.hub.labelling.formats import FORMATS as BY_NAME

    with connect(arguments) as client, meter("writing", None) as on_bytes:
        samples = client.samples(asked_for(arguments), most=arguments.limit)
        done = export(samples, client.sample_picture, BY_NAME[arguments.format], arguments.out, on_bytes=on_bytes)
    left_out = f", {done.left_out}" if done.left_out else ""
    print(f"{arguments.out}: {counted(done.pictures, 'picture')}{left_out}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from edgewise.hub.labelling.formats import FORMATS as BY_NAME

    found = BY_NAME[arguments.format].read(arguments.path)
    with connect(arguments) as client:
        words = {"source": arguments.source, "synthetic": arguments.synthetic, "force": arguments.force}
        return _bring_in(client, found, **words)


def _bring_in(client: "HubClient", found: "Found", **words: Any) -> int:
    """Returns: the exit code. What was done is told even where the hub is lost in the middle."""
    from edgewise.hub.console.data_import import Taken, bring_in
    from edgewise.hub.console.meter import meter
    from edgewise.hub.console.text_tables import printable

    taken = Taken()
    try:
        with meter("sending", None) as on_bytes:
            bring_in(client, found, taken, on_bytes=on_bytes, **words)
    finally:
        for one in taken.refused[:_MOST_REFUSALS]:
            print(f"edgewise: {printable(one.where)}: {printable(one.why)}", file=sys.stderr)
        if len(taken.refused) > _MOST_REFUSALS:
            print(f"edgewise: and {len(taken.refused) - _MOST_REFUSALS:,} more", file=sys.stderr)
        # Each of them, however many: which of two people is right nobody else can say.
        for one in taken.conflicts:
            print(f"edgewise: {printable(one.where)}: {printable(one.why)}", file=sys.stderr)
        print(taken.text)
    return 0 if taken.is_whole else 1
