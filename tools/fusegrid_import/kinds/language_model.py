"""Causal language models: texts, of which every token is asked, questions with choices, and prompts with answers."""

from pathlib import Path

import numpy as np

from packs.task_pack import TaskPack, write_task_pack
from packs.tokens import Choices

from ..answers import answer_columns, answer_of
from ..examples import Chosen, Examples, choose_examples, make_task
from ..job import Job, digest_of
from ..models import read_config
from ..rows import Tokens, columns_of, filled, read_rows, templates
from ..suite import TaskEntry

_MOST_CHOICES = 100
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make(job: Job) -> dict[str, str]:
    tokens = Tokens(job)
    examples = [choose_examples(job, task, _columns(task)) for task in job.suite.tasks]
    made_from = [[each.identity() for each in examples], [dict(each.task.more) for each in examples]]
    made_from += [tokens.sha256, tokens.longest, job.suite.name]
    job.make("pack.h5", digest_of(made_from), lambda path: _write_pack(path, job, tokens, examples))
    return {}


def _kind(task: TaskEntry) -> str:
    given = [name for name in ("text", "choices", "answer", "answers") if name in task.more]
    if len(given) != 1 or ("prompt" in task.more) != (given != ["text"]):
        raise ValueError(
            f"task '{task.name}': the suite must give 'text', or 'prompt' and one of 'choices', 'answer' and 'answers', "
            f"but gives {', '.join(name for name in task.more if name in ('prompt', *given)) or 'none of them'}"
        )
    return {"text": "language_model", "choices": "multiple_choice"}.get(given[0], "generate")


def _columns(task: TaskEntry) -> list[str]:
    kind = _kind(task)
    if kind == "language_model":
        return columns_of(templates(task, "text")[0])
    prompt = columns_of(templates(task, "prompt")[0])
    if kind == "generate":
        return [*prompt, *answer_columns(task)]
    choices = [name for template in templates(task, "choices", _MOST_CHOICES) for name in columns_of(template)]
    return [*prompt, *choices, "label"]


def _write_pack(path: Path, job: Job, tokens: Tokens, examples: list[Examples]) -> None:
    stored, tasks = [], []
    for each in examples:
        kind, attributes = _kind(each.task), {}
        if kind == "generate":
            made, attributes = _prompts_with_answers(job, tokens, each)
        else:
            arrays = {"language_model": _texts, "multiple_choice": _questions}[kind]
            made = {split: arrays(tokens, each, split, chosen) for split, chosen in each.splits.items()}
        for split in made.values():
            stored += [split[name] for name in ("tokens", "answers") if name in split]
            stored += [split["choices"].rows] if "choices" in split else []
        tasks.append(make_task(kind, each, attributes, lambda split, _: made[split]))
    made_from = digest_of([each.identity() for each in examples])
    write_task_pack(path, TaskPack(job.suite.name, made_from, tuple(tasks), tokens.table(stored)))


def _texts(tokens: Tokens, each: Examples, split: str, chosen: Chosen) -> dict:
    """A row for each text, cut where it is longer than rows are."""
    template = templates(each.task, "text")[0]
    rows = read_rows(chosen, columns_of(template), f"{each.task.name}/{split}")
    texts = [filled(template, row, chosen.table.where) for row in rows]
    return {"tokens": tokens.ragged(tokens.ids(texts, tokens.longest), chosen.table.where)}


def _questions(tokens: Tokens, each: Examples, split: str, chosen: Chosen) -> dict:
    label = each.column("label")
    rows = read_rows(chosen, each.columns(_columns(each.task)), f"{each.task.name}/{split}")
    where = chosen.table.where
    prompt, choices = templates(each.task, "prompt")[0], templates(each.task, "choices", _MOST_CHOICES)
    prompts = tokens.ids([filled(prompt, row, where) for row in rows])
    asked, ends, labels = [], [0], []
    for row, start in zip(rows, prompts):
        given, names = _choices(choices, row, where)
        beginning = filled(prompt, row, where)
        asked += [_behind(tokens, start, beginning, choice, where) for choice in given]
        ends.append(len(asked))
        labels.append(_right(row[label], names, where))
    return {
        "tokens": tokens.ragged(prompts, where),
        "choices": Choices(tokens.ragged(asked, where), np.array(ends, np.uint32)),
        "labels": np.array(labels, np.uint16),
    }


def _choices(choices: list[str], row: dict, where: str) -> tuple[list[str], list[str]]:
    """Texts and what a label calls them: of one template that is a column of lists, or a template for each choice."""
    given, names = [], None
    if len(choices) == 1:
        found = row[columns_of(choices[0])[0]]
        if isinstance(found, dict):  # {"text": [...], "label": [...]}, as ARC has them
            found, names = found.get("text"), found.get("label")
        given = list(found) if isinstance(found, (list, tuple)) else []
    else:
        given = [filled(choice, row, where) for choice in choices]
    if len(given) < 2 or not all(isinstance(each, str) and each for each in given):
        raise ValueError(f"{where}: a question must have two choices or more, all of them texts, but one has {given}")
    return given, names or [str(i) for i in range(len(given))]


def _behind(tokens: Tokens, start: list[int], beginning: str, choice: str, where: str) -> list[int]:
    """The ids of a choice or an answer as they follow the prompt, with the space between them."""
    whole = tokens.ids([f"{beginning} {choice}"])[0]
    if len(whole) > tokens.longest or len(whole) <= len(start) or whole[: len(start)] != start:
        raise ValueError(
            f"{where}: a prompt and its choice or answer must have at most {tokens.longest} tokens, and the second be "
            f"what follows the prompt, but these have {len(whole)}: '{beginning} {choice}'; shorten the template, and "
            "end it with no space"
        )
    return whole[len(start) :]


def _right(label: object, names: list[str], where: str) -> int:
    """The name of a choice; where choices have no other, its number from 0 or its letter."""
    text = str(label).strip()
    number = names.index(text) if text in names else _LETTERS.find(text) if len(text) == 1 else -1
    if not 0 <= number < len(names):
        raise ValueError(
            f"{where}: a label must be one of {', '.join(names)}, or the letter of a choice, but one is '{label}'"
        )
    return number


# ---- prompts with answers --------------------------------------------------------------------------------------------


def _prompts_with_answers(job: Job, tokens: Tokens, each: Examples) -> tuple[dict[str, dict], dict]:
    """The arrays of each split, and the attributes."""
    end = _end(job, tokens, each.task)
    made = {split: _answered(tokens, each, split, chosen, end) for split, chosen in each.splits.items()}
    found = max(len(row) for arrays in made.values() for row in arrays["answers"].rows())
    longest = each.task.more.get("longest_answer", found)
    if not isinstance(longest, int) or longest < found:
        raise ValueError(
            f"task '{each.task.name}': longest_answer must be {found} or more, the tokens of the longest answer with its "
            f"end, but it is {longest}"
        )
    for split, arrays in made.items():  # decoding may go on so far behind any prompt
        if (width := max(map(len, arrays["tokens"].rows())) + longest) > tokens.longest:
            raise ValueError(
                f"{each.splits[split].table.where}: a prompt with {longest} tokens behind it, as many as an answer may "
                f"have, must have at most {tokens.longest} tokens, but one has {width}; shorten the template, leave long "
                "rows out, or raise 'longest' of the suite where the base reads more"
            )
    # A causal model's answer begins behind its prompt, so that the first of these is never read.
    return made, {"answer_start": end, "answer_end": end, "longest_answer": longest}


def _end(job: Job, tokens: Tokens, task: TaskEntry) -> int:
    name, end = task.more.get("answer_end"), read_config(job.base).get("eos_token_id")
    if name is not None:
        end = tokens.tokenizer.token_to_id(str(name))
    elif isinstance(end, list) and len(end) == 1:
        end = end[0]
    if not isinstance(end, int) or not 0 <= end < tokens.size:
        raise ValueError(
            f"task '{task.name}': answers must end with one token of {tokens.path}, but "
            + (f"it has no '{name}'" if name is not None else f"eos_token_id of {job.base}/config.json is {end}")
            + "; name one with 'answer_end' in the suite"
        )
    return end


def _answered(tokens: Tokens, each: Examples, split: str, chosen: Chosen, end: int) -> dict:
    rows = read_rows(chosen, each.columns(_columns(each.task)), f"{each.task.name}/{split}")
    where, prompt = chosen.table.where, templates(each.task, "prompt")[0]
    beginnings = [filled(prompt, row, where) for row in rows]
    prompts, answers = tokens.ids(beginnings), []
    for row, beginning, start in zip(rows, beginnings, prompts):
        answer = answer_of(each, row, where)
        if not answer.strip():
            raise ValueError(f"{where}: an answer must be a text, but one is empty; leave its row out")
        ids = _behind(tokens, start, beginning, answer, where)
        if end in ids:
            raise ValueError(
                f"{where}: the token {end} must end an answer and not stand in one, but it does: '{answer}'; name "
                "another one with 'answer_end' in the suite"
            )
        answers.append([*ids, end])
    return {"tokens": tokens.ragged(prompts, where), "answers": tokens.ragged(answers, where)}
