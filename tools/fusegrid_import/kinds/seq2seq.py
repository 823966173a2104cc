"""Text to text for encoder-decoders of T5's layout: questions and answers by template."""

from pathlib import Path

from packs.task_pack import TaskPack, write_task_pack

from ..answers import answer_columns, answer_of
from ..examples import Chosen, Examples, choose_examples, make_task
from ..job import Job, digest_of
from ..models import read_config
from ..rows import Tokens, columns_of, filled, read_rows, templates
from ..suite import TaskEntry


def make(job: Job) -> dict[str, str]:
    tokens, base = Tokens(job), read_config(job.base)
    for name in ("decoder_start_token_id", "eos_token_id"):
        if not isinstance(base.get(name), int):
            raise ValueError(
                f"{job.base}/config.json must give {name}, as that of T5 does, but it is {base.get(name)}"
            )
    examples = [choose_examples(job, task, _columns(task)) for task in job.suite.tasks]
    made_from = [[each.identity() for each in examples], [dict(each.task.more) for each in examples]]
    made_from += [tokens.sha256, tokens.longest, job.suite.name]
    job.make("pack.h5", digest_of(made_from), lambda path: _write_pack(path, job, tokens, examples, base))
    return {}


def _columns(task: TaskEntry) -> list[str]:
    return [*columns_of(templates(task, "text")[0]), *answer_columns(task)]


def _write_pack(path: Path, job: Job, tokens: Tokens, examples: list[Examples], base: dict) -> None:
    stored, tasks = [], []
    for each in examples:
        made = {split: _arrays(tokens, each, split, chosen, base) for split, chosen in each.splits.items()}
        stored += [array for arrays in made.values() for array in arrays.values()]
        longest = max(len(row) for arrays in made.values() for row in arrays["answers"].rows())
        attributes = {
            "answer_start": base["decoder_start_token_id"],
            "answer_end": base["eos_token_id"],
            "longest_answer": each.task.more.get("longest_answer", longest),
        }
        tasks.append(make_task("generate", each, attributes, lambda split, _: made[split]))
    made_from = digest_of([each.identity() for each in examples])
    write_task_pack(path, TaskPack(job.suite.name, made_from, tuple(tasks), tokens.table(stored)))


def _arrays(tokens: Tokens, each: Examples, split: str, chosen: Chosen, base: dict) -> dict:
    rows = read_rows(chosen, each.columns(_columns(each.task)), f"{each.task.name}/{split}")
    where = chosen.table.where
    question = templates(each.task, "text")[0]
    answers = tokens.ids([answer_of(each, row, where) for row in rows])
    if wrong := [ids for ids in answers if len(ids) < 2 or ids[-1] != base["eos_token_id"]]:
        raise ValueError(
            f"{where}: an answer must be a text, and the tokenizer must end it with the token "
            f"{base['eos_token_id']}, but one is {wrong[0]}"
        )
    return {
        "tokens": tokens.ragged(tokens.ids([filled(question, row, where) for row in rows], tokens.longest), where),
        "answers": tokens.ragged(answers, where),
    }
