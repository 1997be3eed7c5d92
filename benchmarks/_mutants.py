"""Mutations of every attack's sign, projection and success rule and of every norm, and the tests that must notice.

A mutation is a fragment that occurs once in its file, and what takes its place.
"""

from __future__ import annotations

MINIMUM = "tests/attacks/test_minimum_norm.py tests/attacks/test_conformance.py"
FIXED = "tests/attacks/test_linear.py tests/attacks/test_budget.py tests/attacks/test_conformance.py"
DECISION = "tests/attacks/test_decisions.py tests/attacks/test_conformance.py"
CASCADE = "tests/attacks/test_cascade.py tests/attacks/test_invariants_cascade.py"
INVARIANTS = "tests/attacks/test_invariants.py tests/attacks/test_conformance.py"
AUTO = "apgd or auto_pgd or checkpoints or halved or sparse or lane or nearest"

TESTS: dict[str, tuple[str, str]] = {
    "oracle.py": (
        "tests/attacks/test_linear.py tests/attacks/test_minimum_norm.py tests/attacks/test_success.py",
        "test_linear or fmn or test_success",
    ),
    "attacks/_problem.py": ("tests/attacks/test_success.py", "restarts"),
    "attacks/_core.py": (
        f"{FIXED} {MINIMUM} tests/attacks/test_success.py",
        "fgsm or pgd or fmn or bisection or smallest or nan or margin_that",
    ),
    "attacks/_objectives.py": (f"tests/attacks/test_objectives.py {FIXED}", "test_objectives or pgd or fgsm or pma"),
    "attacks/_parts.py": (FIXED, "pgd or fgsm or momentum or lane"),
    "attacks/_boundaries.py": (MINIMUM, "deepfool or fab"),
    "attacks/_decisions.py": (DECISION, "boundary or hop"),
    "attacks/fgsm.py": (FIXED, "fgsm or binds"),
    "attacks/r_fgsm.py": (FIXED, "r_fgsm"),
    "attacks/mi_fgsm.py": (FIXED, "mi_fgsm"),
    "attacks/pgd.py": (FIXED, "pgd or dated or raises_the_target"),
    "attacks/apgd.py": (f"tests/attacks/test_invariants_targets.py {FIXED}", f"test_invariants_targets or {AUTO}"),
    "attacks/_auto.py": (f"tests/attacks/test_invariants_auto.py {FIXED}", f"rises_are_counted or {AUTO}"),
    "attacks/_auto_rules.py": (FIXED, AUTO),
    "attacks/pma.py": (FIXED, "pma or margin_attack"),
    "attacks/square.py": (f"tests/attacks/test_square.py {FIXED}", "square or random_search"),
    "attacks/_squares.py": (f"tests/attacks/test_square.py {FIXED}", "square or random_search or bumps"),
    "attacks/_inwards.py": ("tests/attacks/test_inwards.py", ""),
    "attacks/ddn.py": (MINIMUM, "ddn"),
    "attacks/fmn.py": (MINIMUM, "fmn"),
    "attacks/deepfool.py": (MINIMUM, "deepfool"),
    "attacks/cw.py": (f"{MINIMUM} tests/attacks/test_success.py", "cw or grey_pixel"),
    "attacks/fab.py": (f"{MINIMUM} tests/attacks/test_success.py", "fab"),
    "attacks/boundary.py": (DECISION, "boundary"),
    "attacks/hop_skip_jump.py": (DECISION, "hop"),
    "attacks/_verdicts.py": (
        f"{CASCADE} {INVARIANTS} tests/attacks/test_success.py",
        "ddn or pma or further_starts or test_success",
    ),
    "attacks/_smallest.py": ("tests/attacks/test_linear.py tests/attacks/test_success.py", "smallest"),
    "attacks/_transferred.py": (
        "tests/attacks/test_invariants_transferred.py tests/attacks/test_success.py",
        "transferred or images_of_another",
    ),
    "attacks/_patience.py": ("tests/attacks/test_cascade.py", "retires"),
    "attacks/_cascade.py": (CASCADE, "each_part or closest_call or later_part"),
    "attacks/_wrappers.py": ("tests/attacks/test_wrappers.py", "eot_of or straight_through or bpda"),
    **{f"threats/{name}.py": ("tests/test_threats.py", "") for name in ("_core", "_level", "linf", "l2", "l1", "l0")},
}
"""For each file the test files and which of their tests (pytest's -k): those that know the answer in closed form, and
the conformance suite."""

MUTANTS: dict[str, list[tuple[str, str]]] = {
    "oracle.py": [
        ("difference = own - best_other", "difference = best_other - own"),
        ("torch.where(targets >= 0, -difference, difference)", "difference"),
        ("logits.scatter(1, wanted, -torch.inf).amax(dim=1)", "logits.amax(dim=1)"),
        ("labels[wide], aims[wide])", "labels[wide], labels[wide])"),
        ("answer == targets, answer != labels)", "answer == targets, answer == labels)"),
        ("& ~logits.isnan().any(dim=1)", ""),
        ("targets) < -confidence)", "targets) < 0.0)"),
        ('if self.access == "decision" or self.grey:', 'if self.access == "decision":'),
    ],
    "attacks/_core.py": [
        ("broken = play.alive & (gap <= slack)", "broken = play.alive & (gap >= slack)"),
        ("(size <= rows.eps + TOLERANCE", "(size <= 2.0 * rows.eps + TOLERANCE"),
        ("sure = fooled(judged", "sure = ~fooled(judged"),
        ("broken[index] & (size < torch.minimum(score, found_size))", "broken[index]"),
        ("better = inside & (gap < score)", "better = inside & (gap > score)"),
        ("attacked = correct(clean, labels) &", "attacked = (clean.argmax(dim=1) >= 0) &"),
    ],
    "attacks/_objectives.py": [
        ("return torch.where(targets >= 0, -loss, loss)", "return torch.where(targets >= 0, loss, -loss)"),
        ("return -margin(logits, labels, targets)", "return margin(logits, labels, targets)"),
        ("best[:, 2:].mean(dim=1)", "best[:, 1:].mean(dim=1)"),
        ("rise = odds(rival, wanted) - odds(wanted, rival)", "rise = odds(wanted, rival) - odds(rival, wanted)"),
        ("lead = logits.gather(1, targets", "lead = -logits.gather(1, targets"),
    ],
    "attacks/_parts.py": [
        ("points + norm.step(slope,", "points - norm.step(slope,"),
        (
            "norm.project(points + norm.step(slope, points, rate(rows)), rows.images, rows.eps)",
            "points + norm.step(slope, points, rate(rows))",
        ),
        ('decay * memory["momentum"] + share', 'decay * memory["momentum"] - share'),
        ("others = clean_logits.scatter(1, labels[:, None], -torch.inf)", "others = -clean_logits"),
    ],
    "attacks/_boundaries.py": [
        ("away.argmax(dim=1), away.abs()", "away.argmin(dim=1), away.abs()"),
        ("away.abs().argmin(dim=1)", "away.abs().argmax(dim=1)"),
        ("values = logits[:, 1:] - logits[:, :1]", "values = logits[:, :1] - logits[:, 1:]"),
        ("values / lengths.clamp_min(TINY)", "values"),
    ],
    "attacks/_decisions.py": [
        ("return reached(answer.label, rows", "return ~reached(answer.label, rows"),
        ("rows.labels, rows.targets)", "rows.labels, torch.full_like(rows.targets, -1))"),
        ("high = torch.where(blend & found, middle", "high = torch.where(blend & ~found, middle"),
        ("torch.where(given, torch.where(found, READY, SEEK), phase)", "torch.where(given, READY, phase)"),
    ],
    "attacks/fgsm.py": [
        ("objective=cross_entropy,", "objective=lambda *row: -cross_entropy(*row),"),
        ("rate=constant(None)", "rate=constant(None, 0.9)"),
        ("start=start_at(threat, start)", 'start=start_at(threat, "random")'),
    ],
    "attacks/r_fgsm.py": [
        ("objective=cross_entropy,", "objective=lambda *row: -cross_entropy(*row),"),
        ("constant(None, 1.0 - share)", "constant(None, share)"),
        ("norm.project(rows.images + step, rows.images, rows.eps)", "rows.images + step"),
        ("share * rows.eps)", "rows.eps)"),
    ],
    "attacks/mi_fgsm.py": [
        ("objective=cross_entropy,", "objective=lambda *row: -cross_entropy(*row),"),
        ("momentum(decay)", "momentum(-decay)"),
        ("1.0 / max(steps, 1)", "0.5 / max(steps, 1)"),
    ],
    "attacks/pgd.py": [
        ("objective=cross_entropy,", "objective=lambda *row: -cross_entropy(*row),"),
        ("2.5 / max(steps, 1)", "0.5 / max(steps, 1)"),
        ("start=start_at(threat, start)", 'start=start_at(threat, "random")'),
    ],
    "attacks/apgd.py": [
        ("objective=lambda _: OBJECTIVES[objective]", "objective=lambda _: lambda *row: -OBJECTIVES[objective](*row)"),
        ("chosen(wanted.long(), to_aim, dlr)", "chosen((~wanted).long(), to_aim, dlr)"),
        ("aim=likeliest(classes)", "aim=likeliest(1)"),
    ],
    "attacks/_auto.py": [
        ("better = begins | (loss > state", "better = begins | (loss < state"),
        ('state["rises"] + (loss > state["loss"])', 'state["rises"] + (loss < state["loss"])'),
        ('"points": norm.project(state["best"], rows.images, eps)', '"points": state["best"]'),
    ],
    "attacks/_auto_rules.py": [
        ('step = per_row(state["rate"]) * norm', 'step = -per_row(state["rate"]) * norm'),
        ('{"points": norm.project(onwards, rows.images, eps)', '{"points": onwards'),
        ('(state["rises"] <= rho * window)', '(state["rises"] >= rho * window)'),
        ('norm.project(step.add_(state["points"])', 'norm.project(step.neg_().add_(state["points"])'),
        ("torch.ge(values, least", "torch.le(values, least"),
    ],
    "attacks/pma.py": [
        ("torch.where(targets >= 0, loss, -loss)", "torch.where(targets >= 0, -loss, loss)"),
        ("chosen(stage, cross_entropy, _rival, probability_margin)", "chosen(stage, cross_entropy, _rival, _rival)"),
        ("(1.0 + torch.cos(math.pi * done))", "(1.0 - torch.cos(math.pi * done))"),
        ("rows.step >= half, 2, rows.lane % 2", "rows.step >= half, 2, 0"),
    ],
    "attacks/square.py": [
        ('(loss < state["loss"]) |', '(loss > state["loss"]) |'),
        ("best = _kept(better, ", "best = _kept(~better, "),
        ("of_target = -cross_entropy(", "of_target = cross_entropy("),
        ("gap = margin(answer.logits, rows.labels, rows.aims)", "gap = -margin(answer.logits, rows.labels, rows.aims)"),
    ],
    "attacks/_squares.py": [
        ("per_row(rows.eps) * _signs(words[:, 2:])", "2 * per_row(rows.eps) * _signs(words[:, 2:])"),
        ("return self.norm.project(rows.images + scaled, rows.images, rows.eps)", "return rows.images + scaled"),
        (
            "rows.images + delta, rows.images, rows.eps * (1.0 - SLACK)",
            "rows.images + delta, rows.images, rows.eps * 2.0",
        ),
        ("(self._power(rows.eps) - self", "(self._power(rows.eps) + self"),
    ],
    "attacks/ddn.py": [
        ("- rows.images, way, per_row(rate))", "- rows.images, -way, per_row(rate))"),
        ("torch.where(gap < 0, 1.0 - gamma, 1.0 + gamma)", "torch.where(gap < 0, 1.0 + gamma, 1.0 - gamma)"),
        ("= delta.add_(rows.images).clamp_(0.0, 1.0)", "= delta.add_(rows.images)"),
        ('told["points"] * (levels - 1)) / (levels - 1)', 'told["points"] * levels) / levels'),
    ],
    "attacks/_inwards.py": [
        ("on_line, broken = straight(state), gap < 0", "on_line, broken = straight(state), gap > 0"),
        ("closer = broken & ~on_line &", "closer = broken &"),
        ("low, high = on_line & ~broken, on_line & broken", "low, high = on_line & broken, on_line & ~broken"),
        ("rows.images + norm.ball(", "rows.images - norm.ball("),
        ('return state["low"] + ahead * (', 'return state["high"] - ahead * ('),
    ],
    "attacks/fmn.py": [
        ("torch.addcmul(points, EUCLIDEAN", "torch.addcmul(points, -EUCLIDEAN"),
        ("pace.norm.project(moved, rows.images, radius)", "moved"),
        (
            "torch.minimum(radius * (1.0 - change), best), radius",
            "torch.minimum(radius * (1.0 + change), best), radius",
        ),
        ("radius * (1.0 - change), best)", "radius * (1.0 - change), best * 2.0)"),
        ("return torch.where(broken, fewer, more)", "return torch.where(broken, more, fewer)"),
        ("gap.abs() / pace.norm.dual(gradient).clamp_min(1e-12)", "gap.abs()"),
        ('torch.where(broken, state["inner"], middle)', 'torch.where(broken, middle, state["inner"])'),
    ],
    "attacks/deepfool.py": [
        ("(1.0 + overshoot) * moved).clamp(0.0, 1.0)", "(1.0 + overshoot) * moved)"),
        ("onward = (rows.images + (1.0 + overshoot)", "onward = (rows.images - (1.0 + overshoot)"),
        ("rows.labels, rows.targets) < 0", "rows.labels, rows.targets) > 0"),
        ("(1.0 + overshoot) * moved", "(1.0 - overshoot) * moved"),
        ("torch.where(value > 0, BEYOND, -BEYOND)", "torch.where(value > 0, -BEYOND, BEYOND)"),
    ],
    "attacks/cw.py": [
        ("(rate / WIDTH / (1.0", "(rate / (1.0"),
        ('slope - per_row(state["const"]', 'slope + per_row(state["const"]'),
        ("closer = (gap < 0.0) & (size", "closer = (gap > 0.0) & (size"),
        ('low = torch.where(hit, state["low"]', 'low = torch.where(~hit, state["low"]'),
        ('moved = state["variable"] - per_row(scale)', 'moved = state["variable"] + per_row(scale)'),
        ('reached = shrink * torch.minimum(state["threshold"], state["best"])', 'reached = state["threshold"]'),
        ("rows.labels, rows.targets) + kappa", "rows.labels, rows.targets) - kappa"),
    ],
    "attacks/_problem.py": [("torch.where(lane < attack.starts, aims", "torch.where(lane == 0, aims")],
    "attacks/fab.py": [
        ("hopeless = walked + pace.search % 2", "hopeless = walked"),
        ("ahead = norm.hyperplane(points,", "ahead = points - norm.hyperplane(points,"),
        ("back = ~even & (gap < 0)", "back = ~even & (gap > 0)"),
        ("better, nearer = (gap < 0) &", "better, nearer = (gap > 0) &"),
        ('(ends["best"] - ends["near"])).clamp(0.0, 1.0)', '(ends["near"] - ends["best"])).clamp(0.0, 1.0)'),
        # (Its sign alone says nothing: the plane where it is zero stays where it is.)
        ("None]) - logits.gather(1, labels[:, None])", "None]) + logits.gather(1, labels[:, None])"),
    ],
    "attacks/boundary.py": [
        ("state = put(state, step & found & nearer, ", "state = put(state, step & nearer, "),
        ("step & found & nearer", "step & found & ~nearer"),
        ("candidate = (sphere + per_row(length) * back)", "candidate = (sphere - per_row(length) * back)"),
        ("shrunk = (noise - back)", "shrunk = (noise + back)"),
        ("torch.where(rate > good[1], one * FACTOR", "torch.where(rate > good[1], one / FACTOR"),
    ],
    "attacks/hop_skip_jump.py": [
        ("vote = 2.0 * found.float() - 1.0", "vote = 1.0 - 2.0 * found.float()"),
        ("state = put(state, mask & found, high=middle)", "state = put(state, mask & ~found, high=middle)"),
        ("end = torch.where(per_row(found), ", "end = torch.where(~per_row(found), "),
        ("stepped = edge + per_row", "stepped = edge - per_row"),
        ('share * state["reach"])', 'state["reach"])'),
    ],
    "attacks/_verdicts.py": [
        ("success = attacked & fooled(", "success = attacked & ~fooled("),
        ("success = attacked & fooled(", "success = fooled("),
        ("fooled(logits, labels, targets, attack.confidence)", "fooled(logits, labels, targets)"),
        ("best.broken & ~fooled(", "best.broken & fooled("),
        ("stored[lost] = best.fallback[lost]", "stored[lost] = best.image[lost]"),
        ("found[rows] = fooled(", "found[rows] = ~fooled("),
        ("success & within, attack", "success, attack"),
        ("held = (not bool(self.broken[sample]), ", "held = (bool(self.broken[sample]), "),
    ],
    "attacks/_smallest.py": [
        ("most = min(threat.eps, threat.norm.largest(images.shape[1:]))", "most = threat.eps"),
        ("torch.where(broken, middle, high[open_rows])", "torch.where(~broken, middle, high[open_rows])"),
        ("torch.where(broken, low[open_rows], middle)", "torch.where(~broken, low[open_rows], middle)"),
        ('high[~torch.from_numpy(verdicts["right"])] = 0.0', "pass"),
    ],
    "attacks/_transferred.py": [
        ("threat.norm.project(rows.starts, rows.images, rows.eps)", "rows.starts"),
        ("threat.norm.project(rows.starts, ", "threat.norm.project(2.0 * rows.images - rows.starts, "),
        ("rows.images, rows.eps)", "rows.images, 0.5 * rows.eps)"),
    ],
    "attacks/_patience.py": [
        ("torch.fmin(best, margin(", "torch.minimum(best, -margin("),
        ("best * every < hope *", "best * every > hope *"),
        ("(then - best) * left", "(best - then) * left"),
    ],
    "attacks/_cascade.py": [
        ('np.flatnonzero(verdicts["attacked"] & ~verdicts["success"])', 'np.flatnonzero(verdicts["attacked"])'),
        ('(new["margin"] < columns["margin"][rows])', '(new["margin"] > columns["margin"][rows])'),
        ('np.where(new["success"], number, -1)', 'np.where(new["attacked"], number, -1)'),
        ('old["forwards"] + new["query"], -1)', 'new["query"], -1)'),
    ],
    "attacks/_wrappers.py": [
        ("samples=query.samples * samples", "samples=query.samples"),
        ("(answer - values).detach()", "(answer - values)"),
        ("return values + (answer - values).detach()", "return -values + (answer + values).detach()"),
    ],
    "threats/_core.py": [
        ("room = corner.to(points.dtype).sub_(points).abs_()", "room = points.clone()"),
        ("per_row(-value.sign())", "per_row(value.sign())"),
        ("length.reshape(points.shape)).clamp_(0.0, 1.0)", "length.reshape(points.shape))"),
    ],
    "threats/_level.py": [
        ("return torch.minimum(room, wanted)", "return wanted"),
        ("left = torch.clamp(over, nothing, caps)", "left = over.clamp_min(0.0)"),
        ("worth.topk(FIRST, dim=1)", "worth.topk(FIRST, dim=1, largest=False)"),
        ("worth[short].argsort(dim=1, descending=True, stable=True)", "worth[short].argsort(dim=1, stable=True)"),
        ("short = torch.nonzero(total(given) < need", "short = torch.nonzero(total(given) > need"),
        ("(total(weights * room) <= need)", "(total(weights * room) > need)"),
    ],
    "threats/linf.py": [
        ("return per_row(length) * self.steepest(gradient, points)", "return self.steepest(gradient, points)"),
        ("return delta.abs().flatten(1).amax(dim=1)", "return delta.flatten(1).amax(dim=1)"),
        ("out=low).clamp_(0.0, 1.0)", "out=low)"),
        ("return gradient.sign()", "return -gradient.sign()"),
        ("(2.0 * draw - 1.0)", "draw"),
        ("return total(gradient.abs())", "return gradient.abs().flatten(1).amax(dim=1)"),
    ],
    "threats/l2.py": [
        ("return per_row(length) * self.steepest(gradient, points)", "return self.steepest(gradient, points)"),
        (").clamp_max(1.0)\n        return delta", ")\n        return delta"),
        ("self.ball(points - origin, eps)).clamp_(0.0, 1.0)", "self.ball(points - origin, eps))"),
        ("return scaled / per_row(", "return -scaled / per_row("),
        ("** (1.0 / dimensions)", ""),
        ("total(delta.square()).sqrt()", "total(delta.square())"),
    ],
    "threats/l1.py": [
        ("return per_row(length) * self.steepest(gradient, points)", "return self.steepest(gradient, points)"),
        ("return delta.sign() * kept.reshape(delta.shape)", "return kept.reshape(delta.shape)"),
        ("room.flatten(1), eps)", "torch.full_like(delta, math.inf).flatten(1), eps)"),
        ("return gradient.sign() * shares", "return -gradient.sign() * shares"),
        (".sub_(above(least.expand_as(rises), rises)).clamp_min_(0.0)", ""),
        ("return torch.where(per_row(over), inwards, moved)", "return moved"),
    ],
    "threats/l0.py": [
        ("return total((delta != 0).any(dim=1)", "return total((delta != 0).all(dim=1)"),
        ("_first(_joined(saved), eps), clipped", "_first(-_joined(saved), eps), clipped"),
        ("_first(_joined(delta.square()), eps)", "_first(_joined(delta), eps)"),
        (
            "return torch.where(best, gradient.sign() * room, 0.0)\n",
            "return torch.where(best, -gradient.sign() * room, 0.0)\n",
        ),
        ("beyond = BEYOND * gradient", "beyond = -BEYOND * gradient"),
        ("_first(gains, length.ceil()", "_first(-gains, length.ceil()"),
        ("_first(gains, length.ceil().clamp_min(1.0))", "_first(gains, torch.ones_like(length))"),
        ("rank < (eps * (1.0 + TOLERANCE)).floor()", "rank <= (eps * (1.0 + TOLERANCE)).floor()"),
    ],
}
"""By file below `src/bantamweight`: what is written there, and what is put in its place."""
