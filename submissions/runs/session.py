"""What a method sees of its run while it learns: device, log, checkpoint, the wish to stop."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from challenge.data import atomic
from challenge.submissions.layout import Run
from challenge.submissions.runs import checkpoint
from challenge.submissions.runs.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

    from challenge.methods.training.precision import Training

Progress = Callable[[int, int | None, Mapping[str, float]], None]
"""Called with step, total (None: not known yet) and the values logged at that step."""


class RunSession:
    """The `methods.contract.Session` of a run folder."""

    def __init__(
        self,
        run: Run,
        *,
        seed: int = 0,
        device: str = "cpu",
        processes: int = 1,
        precision: Training = "auto",
        resume: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Open a session; nothing is written before the first log line or checkpoint.

        `launch` has to follow where a method learns, or several processes share the work.

        Args:
            run: the run's folder.
            seed: the entry's seed.
            device: torch's name of a device, such as `cpu`, `cuda` or `cuda:1`.
            processes: so many share every batch, on as many GPUs; the first one writes.
            precision: the `train.precision` of the config.
            resume: go on from the run's checkpoint, if it has one; else the log begins anew.
            progress: told of every `log`.
        """
        self.seed = seed
        self._run, self._resume, self._progress = run, resume, progress
        self._device, self._processes, self._precision = device, processes, precision
        self._log_begun = resume
        self._stop = False
        self._began, self._before = time.monotonic(), 0.0

    def launch(self) -> None:
        """Start the other processes, where there are several; call it once, before any writes.

        The command is started once more for each of them. They come to this line as well, and
        all find each other here.
        """
        if self._processes > 1:
            self.fabric.launch()

    @functools.cached_property
    def fabric(self) -> Fabric:
        """Lightning Fabric, silent, whatever cluster it finds itself on.

        Set up when it is asked for, since a method that learns nothing needs none and Lightning
        takes long to import. It starts no process.
        """
        import logging

        import torch
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import LightningEnvironment

        from challenge.methods.training.precision import for_fabric

        device = torch.device(self._device)
        for name in ("lightning_fabric", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        several = self._processes > 1
        if device.type == "cuda":
            # The same numbers again when a run is resumed.
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False
        return Fabric(
            accelerator=device.type,
            devices=self._processes if device.type == "cpu" or several else [device.index or 0],
            # A method may leave out some parameters for a while: no process waits for these.
            strategy="ddp_find_unused_parameters_true" if several else "auto",
            precision=for_fabric(self._precision, device),
            plugins=[LightningEnvironment()],
        )

    def log(self, step: int, total: int | None, **values: float) -> None:
        """Append a line to `log.jsonl`, unless there is no value, and report progress."""
        if not self.writes:
            return
        values = {name: float(value) for name, value in values.items()}
        if values:
            finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
            line = json.dumps({"step": step, "total": total, **finite}, allow_nan=False)
            with atomic.disk_errors(self._run.log):
                self._run.path.mkdir(parents=True, exist_ok=True)
                # Opened for each line: nothing stays in a buffer, nothing need be closed.
                with self._run.log.open("ab" if self._log_begun else "wb") as file:
                    file.write(line.encode() + b"\n")
            self._log_begun = True
        if self._progress is not None:
            self._progress(step, total, values)

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the one before stays until this one is whole.

        Raises:
            UserError: the disk is full or cannot be written; the one before stays.
        """
        if not self.writes:
            return
        with atomic.disk_errors(self._run.log):
            length = self._sync_log()
        checkpoint.write(self._run, Checkpoint(tensors, state, length, self.seconds))

    def restore(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint of a run that is resumed; cuts off what was logged after it."""
        if not self._resume:
            return None
        stored = checkpoint.read(self._run)
        if stored is None:
            self._log_begun = False
            return None
        self._before = stored.seconds
        log, length = self._run.log, stored.log_bytes
        if self.writes and log.exists() and log.stat().st_size > length:
            with atomic.disk_errors(log):
                os.truncate(log, length)
        return dict(stored.tensors), dict(stored.state)

    def first_alone(self, work: Callable[[], object]) -> None:
        """Do something in the first process only, while the others wait for it.

        Raises:
            UserError: what `work` raises; the other processes end without a word.
        """
        error: BaseException | None = None
        if self.writes:
            try:
                work()
            except BaseException as raised:
                error = raised
        went_well = error is None
        if self._processes > 1:
            went_well = self.fabric.broadcast(went_well)
        if not went_well:
            self.close()
        if error is not None:
            raise error
        if not went_well:
            raise SystemExit(0)  # the first process says why, and its exit code counts

    def close(self) -> None:
        """Wait for the other processes and part from them; all of them have to.

        So none leaves while another still writes or waits for it.
        """
        if self._processes > 1:
            import torch.distributed

            self.fabric.barrier()
            torch.distributed.destroy_process_group()

    def abandon(self) -> None:
        """End the other processes, which would wait for this one for ever."""
        if self._processes > 1:
            import torch.distributed

            for process in getattr(self.fabric.strategy.launcher, "procs", []):
                process.kill()
            torch.distributed.destroy_process_group()

    @property
    def seconds(self) -> float:
        """Of training so far, with those before the checkpoint that was restored.

        What a kill threw away is trained once more and counts once, as in the log.
        """
        return self._before + time.monotonic() - self._began

    def request_stop(self) -> None:
        """Ask the method to save and return; safe to call from a signal handler."""
        self._stop = True

    @property
    def stop_requested(self) -> bool:
        """Whether this process was asked to stop; asks no other."""
        return self._stop

    def should_stop(self) -> bool:
        """True in every process once one of them was asked to stop; all of them have to ask."""
        if self._processes > 1:
            import torch

            mine = torch.tensor(float(self._stop), device=self.fabric.device)
            self._stop = bool(self.fabric.all_reduce(mine, reduce_op="sum") > 0)
        return self._stop

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes."""
        return self._processes == 1 or bool(self.fabric.is_global_zero)

    def _sync_log(self) -> int:
        """Make the log durable; its length in bytes."""
        if not self._log_begun or not self._run.log.exists():
            return 0
        with self._run.log.open("rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)
