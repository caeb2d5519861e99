#!/usr/bin/env bash
# A file of triples, a model of it, answers for a named entity, and why: the README's path in one go.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python "$here/people.py" people.tsv
python -m kgscale data=triples data.path=people.tsv root=runs trainer.max_epochs=10 evaluation.test=true
run=$(ls -d runs/link_prediction/* | tail -n 1)
python -m kgscale predict run="$run" head="Ada Stone" relation=lives_in k=3
python -m kgscale explain run="$run" head="Ada Stone" relation=lives_in tail=Bonn k=5
