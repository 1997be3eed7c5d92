"""Original, perturbation, adversarial image, and what the explainers see before and after."""

from __future__ import annotations

from typing import Any

from bantamweight.reports._blocks import Block, Fragment, Panel, Prose
from bantamweight.reports._pictures import Album, album
from bantamweight.reports._run import Context, Job
from bantamweight.reports._tables import pivot

__all__ = ["gallery"]


def gallery(context: Context) -> Panel | None:
    """Examples per variant, right and wrong ones, and how far the maps moved; None without explanations."""
    jobs = [(job, said) for job in context.jobs("explain") if (said := job.json("gallery.json"))]
    if not jobs:
        return None
    paths = [job.folder / path for job, said in jobs for item in said["items"] for path in item["pictures"].values()]
    pictures = album(paths)
    shown = [_examples(job, said, pictures) for job, said in jobs]
    blocks: list[Block] = [Fragment(SOURCE, {"jobs": shown})]
    if pictures.note:
        blocks.append(Prose(pictures.note, "note"))
    keys = {"variant": "variant", "other": "against", "item": "explainer", "attack": "attack", "threat": "threat"}
    heads = {"map_correlation": "rank correlation of the maps"}
    if table := pivot(context, "How far the gaze moved", {**keys, "target": "target"}, heads):
        blocks.append(table)
    heads = {"flat_maps": "maps without any contrast", "explainer_undefined": "not defined"}
    if table := pivot(
        context, "Maps that say nothing", {"variant": "variant", "item": "explainer"}, heads, folded=True
    ):
        blocks.append(table)
    lead = (
        "Maps are drawn each on its own scale; signed ones diverge from white. Norms are measured on the stored image."
    )
    return Panel("Examples and gaze", 50, blocks, lead)


def _examples(job: Job, said: dict[str, Any], pictures: Album) -> dict[str, Any]:
    labels = job.labels
    name = " ".join(str(labels[key]) for key in ("variant", "attack", "threat") if labels.get(key))
    aimed = f" aimed at {labels['target']}" if labels.get("target") else ""
    items = [
        {
            **item,
            "logits": _logits(item, said["classes"]),
            "shown": {key: pictures.get(job.folder / path) for key, path in item["pictures"].items()},
        }
        for item in said["items"]
    ]
    undefined = said.get("undefined") or {}
    return {"name": name + aimed, "items_": items, "explainers": said["explainers"], "undefined": undefined}


def _logits(item: dict[str, Any], classes: list[str]) -> list[tuple[str, str, str]]:
    before, after = item["clean"]["logits"], (item.get("adversarial") or {}).get("logits") or []
    return [
        (name, f"{before[at]:.2f}", f"{after[at]:.2f}" if at < len(after) else "")
        for at, name in enumerate(classes)
        if at < len(before)
    ]


SOURCE = """
<div class="picker" hidden><label for="gallery-of">Variant and attack</label>
<select id="gallery-of" data-picks="gallery">
{% for job in jobs %}<option value="{{ loop.index0 }}">{{ job.name }}</option>{% endfor %}
</select></div>
{% for job in jobs %}
<div data-group="gallery" data-pick="{{ loop.index0 }}">
<h3>{{ job.name }}</h3>
{% for explainer, why in job.undefined.items() %}
<p class="note">{{ explainer }} is not defined here: {{ why }}</p>{% endfor %}
<ul class="examples">
{% for item in job.items_ %}
<li class="example card">
  <h4>{{ item.label }} <span class="tag {{ 'good' if item.right else 'bad' }}">answered {{ item.clean.predicted }}</span>
  {% if item.adversarial %}<span class="tag {{ 'bad' if item.success }}">attacked: {{ item.adversarial.predicted }}</span>{% endif %}</h4>
  <p class="file">{{ item.name }}</p>
  <div class="strip">
  {% for key in ("original", "perturbation", "adversarial") %}{% if item.shown.get(key) %}
    <figure><img src="{{ item.shown[key] }}" alt="{{ key }} of {{ item.name }}">
    <figcaption>{{ key }}{% if key == "perturbation" and item.gain %} x {{ "%.0f"|format(item.gain) }}{% endif %}</figcaption></figure>
  {% endif %}{% endfor %}
  {% for explainer in job.explainers %}{% for when in ("clean", "adversarial") %}
    {% set key = explainer ~ " " ~ when %}{% if item.shown.get(key) %}
    <figure><img src="{{ item.shown[key] }}" alt="{{ explainer }}, {{ when }}, of {{ item.name }}">
    <figcaption>{{ explainer }}, {{ "before" if when == "clean" else "after" }}{% if key in item.flat %} (flat){% endif %}</figcaption></figure>
  {% endif %}{% endfor %}{% endfor %}
  </div>
  <dl>
    <dt>before</dt><dd>{{ item.clean.predicted }}, {{ item.clean.confidence|percent }}</dd>
    {% if item.adversarial %}<dt>after</dt><dd>{{ item.adversarial.predicted }}, {{ item.adversarial.confidence|percent }}</dd>{% endif %}
    {% if item.norms %}<dt>L-inf, L2</dt><dd>{{ item.norms.linf|number }}, {{ item.norms.l2|number }}</dd>
    <dt>L1, L0</dt><dd>{{ item.norms.l1|number }}, {{ item.norms.l0|number }} pixels</dd>{% endif %}
  </dl>
  <details class="evidence"><summary>Logits</summary><table>
  <thead><tr><th scope="col">class</th><th scope="col">before</th><th scope="col">after</th></tr></thead>
  <tbody>{% for name, before, after in item.logits %}<tr><th scope="row">{{ name }}</th><td>{{ before }}</td><td>{{ after }}</td></tr>{% endfor %}</tbody>
  </table></details>
</li>
{% endfor %}
</ul></div>
{% endfor %}
"""
