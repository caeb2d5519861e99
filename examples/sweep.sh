#!/usr/bin/env bash
# Two decoders, two seeds each: four runs by one command, and a line for each.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python "$here/people.py" people.tsv
python -m kgscale -m data=triples data.path=people.tsv root=runs decoder=complex,distmult seed=0,1 \
    trainer.max_epochs=5 predictions.count=0
python - <<'END'
import json
from pathlib import Path

import yaml

for run in sorted(Path("runs/link_prediction").iterdir()):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    valid = json.loads((run / "results.json").read_text())["metrics"]["valid"]
    decoder = settings["decoder"]["_target_"].rpartition(".")[2]
    print(f"{decoder:10} seed {settings['seed']}  validation MRR {valid['mrr']:.4f}")
END
