"""What sacreBLEU, rouge-score and SciPy say of small texts and numbers.

Run: python make_text_overlap.py [OUTPUT_FILE]   (default: text_overlap.json)
With: Python 3.11, requirements-text.txt

pairs: answer and wanted text of an example, chrF of the pair alone and ROUGE-L, as
fractions; corpus_chrf: of all pairs together; spearman: numbers, their ranks and the
correlation of these.
"""

import json
import os
import sys

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF
from scipy import stats

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "text_overlap.json")

# answer, wanted text
PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("the cat sat on the mat", "a cat was sitting on a mat"),
    ("on the mat the cat sat", "the cat sat on the mat"),
    ("HH AH0 L OW1", "HH EH1 L OW1"),
    ("unhappiness", "happiness"),
    ("go", "went home again"),           # no n-gram of three characters
    ("a much longer answer", "no"),      # the same of the wanted text
    ("the the the the", "the cat the"),  # a word counts as often as both have it
    ("Don't panic!", "don't PANIC, 42 times"),
    ("naïve café", "naive cafe\u0301"),  # another character, and the same of two
    ("日本語の文", "日本の文章"),
    ("🙂 grinning face", "🙃 grinning  face\tagain"),
    ("", "nothing was said"),
    ("said too much", ""),
    ("", ""),
    ("abc", "xyz"),
]
# Of numbers with ties.
X = [3.0, 1.0, 2.5, 2.5, -4.0, 10.0, 0.0, 2.5]
Y = [2.0, 0.5, 7.0, 2.0, -1.0, 6.0, 1.0, 3.0]


def main():
    chrf, rouge = CHRF(), RougeScorer(["rougeL"], use_stemmer=False)
    answers, wanted = [a for a, _ in PAIRS], [w for _, w in PAIRS]
    golden = {
        "pairs": [{"answer": a, "wanted": w,
                   "chrf": chrf.sentence_score(a, [w]).score / 100,
                   "rouge_l": rouge.score(w, a)["rougeL"].fmeasure}
                  for a, w in PAIRS],
        "corpus_chrf": chrf.corpus_score(answers, [wanted]).score / 100,
        "spearman": {"x": X, "y": Y,
                     "x_ranks": stats.rankdata(X).tolist(), "y_ranks": stats.rankdata(Y).tolist(),
                     "value": stats.spearmanr(X, Y).statistic},
    }
    with open(OUT, "w", encoding="utf-8") as out:
        json.dump(golden, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
