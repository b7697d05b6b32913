"""Naive implementations of the evaluator and the threshold search, as plain loops, to test and time against.

Arguments are lists of lists, (recordings, 24). Nothing is shared with the fast code but the table of rewards.
"""

import math
from itertools import groupby

from leadwise.challenge.classes import CODES, EQUIVALENTS, REWARDS, SINUS_RHYTHM
from leadwise.challenge.metric import challenge_metric as fast_challenge_metric
from leadwise.decision.thresholds import apply_thresholds

NAN = float("nan")


# Files ----------------------------------------------------------------------------------------------------------


def labels_of_header(text):
    """Return 24 zeros and ones from the Dx lines of a header."""
    codes = []
    for line in text.split("\n"):
        start, colon, rest = line.partition(":")
        if colon and start.replace(" ", "") == "#Dx":
            codes += [representative(code.strip()) for code in rest.split(",")]
    return [int(code in codes) for code in CODES]


def columns_of_output(text):
    """Return 24 labels and 24 scores of an output; None if it is malformed."""
    lines = [line for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]
    rows = [[field.strip() for field in line.split(",")] for line in lines]
    if len(rows) < 3 or any(len(row) != len(rows[0]) for row in rows):
        return None
    codes = [representative(code) for code in rows[0]]
    answers, scores = [], []
    for code in CODES:
        columns = [column for column, other in enumerate(codes) if other == code]
        answers.append(int(any(rows[1][column] in ("1", "True", "true", "T", "t") for column in columns)))
        numbers = [number(rows[2][column]) for column in columns]
        numbers = [value for value in numbers if not math.isnan(value)]
        scores.append(sum(numbers) / len(numbers) if numbers else 0.0)
    return answers, scores


def representative(code):
    return EQUIVALENTS.get(code, code)


def number(text):
    try:
        return float(text)
    except ValueError:
        return 0.0


def evaluate_texts(headers, outputs):
    """Compute all metrics for headers and outputs given as texts, in the same order."""
    zeros = ([0] * len(CODES), [0.0] * len(CODES))
    columns = [columns_of_output(output) or zeros for output in outputs]
    return evaluate([labels_of_header(text) for text in headers], [a for a, _ in columns], [s for _, s in columns])


# Metrics --------------------------------------------------------------------------------------------------------


def evaluate(labels, answers, scores):
    """Compute all metrics, under the names of `leadwise.challenge.metric.Scores`."""
    areas = [areas_of_class(column(labels, k), column(scores, k)) for k in range(len(CODES))]
    f_measure = f_measures(labels, answers)
    f_beta, g_beta = beta_measures(labels, answers)
    class_auroc, class_auprc = [area[0] for area in areas], [area[1] for area in areas]
    return {
        "auroc": macro(class_auroc),
        "auprc": macro(class_auprc),
        "accuracy": accuracy(labels, answers),
        "f_measure": macro(f_measure),
        "f_beta": macro(f_beta),
        "g_beta": macro(g_beta),
        "challenge_metric": challenge_metric(labels, answers),
        "class_auroc": class_auroc,
        "class_auprc": class_auprc,
        "class_f_measure": f_measure,
        "class_f_beta": f_beta,
        "class_g_beta": g_beta,
    }


def areas_of_class(labels, scores):
    """Compute AUROC by trapezoids and AUPRC by steps, over the distinct scores in descending order."""
    positives = sum(1 for label in labels if label)
    negatives = len(labels) - positives
    if positives == 0:
        return NAN, NAN
    scores = [0.0 if math.isnan(score) else score for score in scores]
    pairs = sorted(zip(scores, labels, strict=True), key=first)
    auroc = auprc = 0.0
    tp = fp = 0
    for _, group in groupby(reversed(pairs), key=first):
        recall, specificity = tp / positives, (negatives - fp) / negatives if negatives else NAN
        for _, label in group:
            if label:
                tp += 1
            else:
                fp += 1
        step = tp / positives - recall
        auprc += step * tp / (tp + fp)
        auroc += step * (specificity + (negatives - fp) / negatives) / 2 if negatives else NAN
    return auroc, auprc


def macro_rates(labels, answers):
    """Compute sensitivity and specificity, each the mean over the classes in which it is defined."""
    sensitivities, specificities = [], []
    for k in range(len(CODES)):
        tp, fp, fn = confusion(labels, answers, k, [1] * len(labels))
        sensitivities.append(ratio(tp, tp + fn))
        specificities.append(ratio(len(labels) - tp - fp - fn, len(labels) - tp - fn))
    return macro(sensitivities), macro(specificities)


def accuracy(labels, answers):
    right = 0
    for y, s in zip(labels, answers, strict=True):
        if all(bool(a) == bool(b) for a, b in zip(y, s, strict=True)):
            right += 1
    return right / len(labels)


def confusion(labels, answers, k, weights):
    """Sum the weighted true positives, false positives and false negatives of class k."""
    tp = fp = fn = 0.0
    for y, s, weight in zip(labels, answers, weights, strict=True):
        if y[k] and s[k]:
            tp += weight
        elif s[k]:
            fp += weight
        elif y[k]:
            fn += weight
    return tp, fp, fn


def f_measures(labels, answers):
    measures = []
    for k in range(len(CODES)):
        tp, fp, fn = confusion(labels, answers, k, [1] * len(labels))
        measures.append(ratio(2 * tp, 2 * tp + fp + fn))
    return measures


def beta_measures(labels, answers):
    weights = [1 / max(sum(1 for label in y if label), 1) for y in labels]
    f_beta, g_beta = [], []
    for k in range(len(CODES)):
        tp, fp, fn = confusion(labels, answers, k, weights)
        f_beta.append(ratio(5 * tp, 5 * tp + fp + 4 * fn))
        g_beta.append(ratio(tp, tp + fp + 2 * fn))
    return f_beta, g_beta


def challenge_metric(labels, answers, rewards=REWARDS):
    inactive_answers = [[int(k == SINUS_RHYTHM) for k in range(len(CODES))] for _ in labels]
    reward = reward_sum(labels, answers, rewards)
    correct = reward_sum(labels, labels, rewards)
    inactive = reward_sum(labels, inactive_answers, rewards)
    return (reward - inactive) / (correct - inactive) if correct != inactive else 0.0


def reward_sum(labels, answers, rewards):
    classes = range(len(CODES))
    counts = [[0.0] * len(CODES) for _ in classes]
    for y, s in zip(labels, answers, strict=True):
        union = max(sum(1 for k in classes if y[k] or s[k]), 1)
        for j in classes:
            if y[j]:
                for k in classes:
                    if s[k]:
                        counts[j][k] += 1 / union
    terms = [float(rewards[j][k]) * counts[j][k] for j in classes for k in classes]
    return sum(term for term in terms if not math.isnan(term))


def macro(values):
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else NAN


def ratio(numerator, denominator):
    return numerator / denominator if denominator else NAN


def column(rows, k):
    return [row[k] for row in rows]


def first(pair):
    return pair[0]


# Thresholds -----------------------------------------------------------------------------------------------------


def search_thresholds(labels, probabilities, common_steps=10, class_steps=100):
    """Search in two steps, calling the metric for each candidate; return thresholds, common one and score."""
    candidates = [i / common_steps for i in range(common_steps + 1)]
    scores = [fast_challenge_metric(labels, apply_thresholds(probabilities, candidate)) for candidate in candidates]
    common = best_candidate(candidates, scores, present=0.5)
    thresholds = [common] * len(CODES)
    candidates = [i / class_steps for i in range(class_steps + 1)]
    for k in range(len(CODES)):
        scores = []
        for candidate in candidates:
            thresholds[k] = candidate
            scores.append(fast_challenge_metric(labels, apply_thresholds(probabilities, thresholds)))
        thresholds[k] = best_candidate(candidates, scores, present=common)
    return thresholds, common, scores[candidates.index(thresholds[-1])]


def best_candidate(candidates, scores, present):
    """Choose among the best (within 1e-12) the nearest to the present threshold, then the lower one."""
    top = max(scores)
    best = [candidate for candidate, score in zip(candidates, scores, strict=True) if score >= top - 1e-12]
    return min(best, key=lambda candidate: (round(abs(candidate - present), 9), candidate))
