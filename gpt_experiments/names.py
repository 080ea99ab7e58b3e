"""Every name that this program stores: tags, metrics and files of MLflow runs, and the defaults of both.

What is stored under one of them is read by later versions: a name is added here, and never changed.
"""

from __future__ import annotations

from typing import Final, Literal

DEFAULT_EXPERIMENT: Final = "gpt-experiments"
DEFAULT_SEED: Final = 1337

Kind = Literal["sweep", "trial", "pretrained"]
EARLIER_PRETRAINED: Final = "baseline"  # the kind of a pre-trained model's run, until 0.1.0

# Tags
KIND: Final = "gpt.kind"
SWEEP: Final = "gpt.sweep"  # the sweep's name
SWEEP_KEY: Final = "gpt.sweep_key"  # the sweep's identity: what must be equal for two invocations to be one sweep
PLANNED: Final = "gpt.planned"  # of a sweep: a digest of its definition, which must be equal for all that join it
LOOKS: Final = "gpt.looks"  # what its planned looks depend on, where a sweep trains until it is decided
SWEEPS: Final = "gpt.sweeps"  # of a trial: the run ids of all sweeps that it belongs to, also of those that reuse it
VARIANT: Final = "gpt.variant"
TUNING: Final = "gpt.tuning"  # of a trial that only tuned its variant, and is part of no comparison: `yes`
CELL: Final = "gpt.cell"
SHELF: Final = "gpt.cell."  # and the first two digits of the cell: the cell again, where a search finds it fast
OWNER: Final = "gpt.owner"  # the process that writes the run, as host|pid|start time
HEARTBEAT: Final = "gpt.heartbeat"  # when that process last said that it lives, in seconds since 1970
CLAIM: Final = "gpt.claim"  # of a run that is RUNNING: whether it holds its cell or its sweep, or has only asked for it
JOINED: Final = "gpt.joined."  # of a sweep, and a digest: a process that trains it, as host|pid|start time|heartbeat
FAILURE: Final = "gpt.failure"
STOPPED: Final = "gpt.stopped"  # of a trial that a pruner stopped: when and why, a JSON object
STATE: Final = "gpt.state"  # of a trial that has not finished: which state is kept of it, a JSON object
CONTINUED: Final = "gpt.continued"  # of a trial that went on after a pause: at which steps and where, a JSON list
HARDWARE: Final = "gpt.hardware"
HOST: Final = "gpt.host"  # the machine that trained the trial, where that is not the one of its owner
CORPUS: Final = "gpt.corpus"
CORPUS_DIGEST: Final = "gpt.corpus_digest"  # SHA-256 of the text, whole; a dataset input holds only 36 characters
VERSIONS: Final = "gpt.versions"
THREADS: Final = "gpt.threads"  # CPU threads that the trial trained with
REPLICAS: Final = "gpt.replicas"  # how many trials trained together as one model
KERNELS: Final = "gpt.kernels"  # whether the kernels for the CPU were switched on, `on` or `off`
CONFIRMS: Final = "gpt.confirms"  # of a trial on a fresh seed: the run ids of the sweeps or trials that it confirms
UNCOMMITTED: Final = "gpt.uncommitted"  # SHA-256 of what the code differs in from its commit

ASKED, HOLDS = "asked", "holds"  # the values of CLAIM

# Of an experiment's saved views and its description
VIEW_DIGEST: Final = "gpt.digest"  # what this program wrote, so that a person's change is left alone

# Tags of a registered version, beside variant, cell and corpus
RUN: Final = "gpt.run"
SCORE: Final = "gpt.final_val_loss"  # its loss, nats per character: the mean over fresh seeds, else its run's
FRESH_LOSSES: Final = "gpt.fresh_losses"  # the loss of each fresh seed, as JSON; it is compared with the champion's
SIZE: Final = "gpt.n_params"
MEASURED: Final = "gpt.measured"  # what the loss is: `fresh seeds`, `choice` (optimistic), or `one run`

# Model registry
DEFAULT_MODEL: Final = "gpt-experiments"
CHAMPION: Final = "champion"

# Parameters beside those of `parameters`
DEVICE: Final = "device"
IS_ADAPTIVE: Final = "is_adaptive"  # of a sweep: whether its method chooses variants by results
NUISANCE: Final = "nuisance"  # of a sweep: the parameters that each variant was tuned over, if there are any
SEED: Final = "seed"
VOCAB_SIZE: Final = "vocab_size"

# Metrics over steps, nats per character
TRAIN_LOSS: Final = "train_loss"
VAL_LOSS: Final = "val_loss"

# Metrics at the end
FINAL_TRAIN_LOSS: Final = "final_train_loss"
FINAL_VAL_LOSS: Final = "final_val_loss"
BEST_VAL_LOSS: Final = "best_val_loss"
N_PARAMS: Final = "n_params"
FLOPS: Final = "flops"  # floating-point operations of the training; runs until 0.1.0 have none
TRAIN_SECONDS: Final = "train_seconds"
EVAL_SECONDS: Final = "eval_seconds"
TOKENS_PER_SECOND: Final = "tokens_per_second"

# Metrics over heads, layer by layer, named as `heads/entropy`, and until 0.1.0 as `entropy_by_head`; MLflow shows the
# metrics of a section together. Some scores are multiples of chance.
HEAD_SCORES: Final = ("previous_position", "first_position", "entropy", "same_word", "same_character", "induction")
MULTIPLES_OF_CHANCE: Final = ("same_character", "induction")
HEADS_SECTION: Final = "heads/"

# Metrics of the worker that trains, as MLflow's page of system metrics expects them
SYSTEM_SECTION: Final = "system/"

# Images over steps
ATTENTION_IMAGE: Final = "attention"

# Files of a trial
LOSS_CURVE_FILE: Final = "loss_curve.png"
SAMPLE_FILE: Final = "sample.txt"
POSITIONS_FILE: Final = "loss_by_position.csv"
CHARACTERS_FILE: Final = "loss_by_character.npy"  # runs until 0.1.0 have none
CHECKPOINT_FOLDER: Final = "checkpoint"
ATTENTION_FOLDER: Final = "attention"
SPEAKER_FOLDER: Final = "king_henry"  # in ATTENTION_FOLDER: the same files for another text
HEADS_FILE: Final = f"{ATTENTION_FOLDER}/heads.csv"
HEAD_MAPS_FILE: Final = f"{ATTENTION_FOLDER}/scores.png"
EXPLORER_FILE: Final = f"{ATTENTION_FOLDER}/explorer.html"
TRACEBACK_FILE: Final = "traceback.txt"
STATE_FOLDER: Final = "state"  # from which a trial goes on that has not finished

# Files of a run that has no parent
UNCOMMITTED_FOLDER: Final = "uncommitted"  # what the code differed in from its commit, named by its digest

# Files of a sweep
DEFINITION_FILE: Final = "sweep.yaml"
PLAN_FILE: Final = "trials.json"
REPORT_FOLDER: Final = "report"
REPORT_PAGE: Final = f"{REPORT_FOLDER}/report.html"
TABLES_FOLDER: Final = "tables"  # some tables of the report, as files that MLflow shows as tables
