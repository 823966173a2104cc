"""Asks lm-evaluation-harness (lm_eval 0.4) about a model. In a job file of fusegrid (docs/jobs.md, "Tasks of your own"):

    [task:gsm8k]
    command = python3 examples/lm_eval.py {request} --metric exact_match,strict-match --num_fewshot 8 --batch_size 16
    metric = exact_match
    expert = math

Options that are not listed by --help go to lm_eval as they are.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("request", help="the file that {request} stands for")
    parser.add_argument("--task", help="what lm_eval calls the task or group (default: its name in the job)")
    parser.add_argument("--val-task", help="the one that parameters are chosen by, for jobs with 'validation = yes'")
    parser.add_argument("--metric", help="what lm_eval calls the metric, with its filter where it has several "
                                         "(default: the metric of the job)")
    parser.add_argument("--lm-eval", default="lm_eval", help="the program (default: %(default)s)")
    parser.add_argument("--model", default="hf", help="as lm_eval's (default: %(default)s)")
    parser.add_argument("--model_args", default="", help="as lm_eval's, but for pretrained=FOLDER")
    return parser.parse_known_args()


def harness_task(own, request):
    if request["split"] == "test":
        return own.task or request["task"]
    if not own.val_task:
        sys.exit("name the task that parameters are chosen by with --val-task, or write 'validation = no' in the job")
    return own.val_task


def run(own, passed_on, request, task, out):
    command = [own.lm_eval, "--model", own.model,
               "--model_args", ",".join(filter(None, [f"pretrained={request['model']}", own.model_args])),
               "--tasks", task, "--output_path", out, "--log_samples", *passed_on]
    if request["limit"]:
        command += ["--limit", str(request["limit"])]
    try:
        status = subprocess.run(command, stdout=sys.stderr).returncode
    except OSError as error:
        sys.exit(f"cannot start '{own.lm_eval}' ({error.strerror}); install lm-evaluation-harness, or name its program "
                 "with --lm-eval")
    if status:
        sys.exit(f"{own.lm_eval} ended with status {status}")
    files = list(pathlib.Path(out).rglob("results_*.json"))
    if len(files) != 1:
        sys.exit(f"{own.lm_eval} must write one results_*.json, but it wrote {len(files)}; is it a version 0.4?")
    return files[0]


def find_metric(scores, wanted, task):
    """The name and filter of a metric: "exact_match,strict-match", or "exact_match" where it has one filter."""
    known = [name for name, value in scores.items() if "," in name and "_stderr," not in name
             and isinstance(value, (int, float))]
    found = [name for name in known if wanted in (name, name.partition(",")[0])]
    if len(found) != 1:
        sys.exit(f"--metric must name one of the metrics of {task}, {', '.join(known)}, but it is '{wanted}'")
    return found[0].split(",", 1)


def leaves(results, task):
    """The tasks of a group, in their order; a task is its own."""
    subtasks = results.get("group_subtasks", {}).get(task, [])
    return [leaf for subtask in subtasks for leaf in leaves(results, subtask)] or [task]


def samples(file, task, filter_name):
    """The examples of a task in its order, from the file beside the results of the same time."""
    lines = file.with_name(file.name.replace("results_", f"samples_{task}_", 1) + "l").read_text(encoding="utf-8")
    examples = [json.loads(line) for line in lines.splitlines()]
    return sorted((example for example in examples if example.get("filter", filter_name) == filter_name),
                  key=lambda example: example["doc_id"])


# Of what lm_eval keeps as a pair of log-likelihood and weight of each example: nats in a unit of the metric, and the
# metric of their sum's quotient.
QUOTIENTS = {"perplexity": (1, math.exp), "bits_per_byte": (math.log(2), float)}


def outcomes_of(values, metric, score):
    """What the metric of the job is made of, example by example; none where that does not give the score."""
    if metric in QUOTIENTS and all(isinstance(value, list) and len(value) == 2 for value in values):
        unit, finish = QUOTIENTS[metric]
        rows = [[-nats / unit, weight] for nats, weight in values]
        given = finish(sum(row[0] for row in rows) / sum(row[1] for row in rows))
    elif values and all(isinstance(value, (int, float)) for value in values):
        rows = values
        given = sum(rows) / len(rows)
    else:
        return None
    return rows if math.isclose(given, score, rel_tol=1e-7, abs_tol=1e-7) else None


def answer_of(file, task, metric, wanted):
    results = json.loads(file.read_text(encoding="utf-8"))
    scores = results["results"].get(task)
    if not scores:
        sys.exit(f"lm_eval has no results of '{task}', but of {', '.join(results['results'])}")
    name, filter_name = find_metric(scores, wanted, task)
    score = scores[f"{name},{filter_name}"]
    tasks = leaves(results, task)
    answer = {metric: score, "count": sum(results["n-samples"][leaf]["effective"] for leaf in tasks)}
    error = scores.get(f"{name}_stderr,{filter_name}")
    if isinstance(error, (int, float)):
        answer[f"{metric}_stderr"] = error
    values = [example.get(name) for leaf in tasks for example in samples(file, leaf, filter_name)]
    outcomes = outcomes_of(values, metric, score) if len(values) == answer["count"] else None
    if outcomes:
        answer["outcomes"] = {metric: outcomes}
    else:
        print(f"the samples of {task} do not give its {name},{filter_name}: boards have no interval", file=sys.stderr)
    return answer


def main():
    own, passed_on = options()
    request = json.loads(pathlib.Path(own.request).read_text(encoding="utf-8"))
    task = harness_task(own, request)
    with tempfile.TemporaryDirectory(dir=pathlib.Path(request["out"]).parent) as out:
        file = run(own, passed_on, request, task, out)
        answer = answer_of(file, task, request["metric"], own.metric or request["metric"])
    pathlib.Path(request["out"]).write_text(json.dumps({request["task"]: answer}), encoding="utf-8")


main()
