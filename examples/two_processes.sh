#!/usr/bin/env bash
# Two processes share every step: started by kgscale itself, then by torchrun.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python "$here/people.py" people.tsv
# Half of the questions each, so that a step is as large as one of a single process.
settings=(data=triples data.path=people.tsv root=runs trainer=ddp trainer.accelerator=cpu
    strategy.batch_size=256 trainer.max_epochs=2 predictions.count=0)
python -m kgscale "${settings[@]}" trainer.devices=2
torchrun --standalone --nproc-per-node=2 -m kgscale "${settings[@]}" seed=1
