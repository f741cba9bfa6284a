#!/usr/bin/env bash
# Simulates four genomes, trains a small model on three of them and scores it on the fourth.
set -euo pipefail
cd "$(dirname "$0")"

mkdir -p genomes
for seed in 1 2 3 4; do
  lstmhmm simulate -o genomes/sim$seed.fa.gz --annotation genomes/sim$seed.gff3.gz \
    --length 300000 --gc 0.$((30 + 10 * seed)) --seed $seed
done
lstmhmm train genomes.tsv --valid valid.tsv -o model --name simulated --steps 200 --batch 16 --window 2304 --hidden 32
lstmhmm annotate genomes/sim4.fa.gz --model model/simulated.toml -o model/sim4.gff3
lstmhmm evaluate genomes/sim4.gff3.gz model/sim4.gff3
