"""What a method sees of its run while it learns: device, log, checkpoint, the wish to stop."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs.errors import UserError
from challenge.data import atomic
from challenge.submissions.layout import Run
from challenge.submissions.runs import checkpoint, pretrained, torchrun
from challenge.submissions.runs import processes as others
from challenge.submissions.runs.checkpoint import Checkpoint
from challenge.submissions.runs.processes import Processes
from challenge.submissions.runs.torchrun import Peers

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from challenge.methods.contract import TimeLimit
    from challenge.methods.training.precision import Training

OnSave = Callable[[Mapping[str, "Tensor"]], None]
"""Called with the tensors of a checkpoint."""
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
        on_save: OnSave | None = None,
        find_weights: Callable[[str], Path] | None = None,
        time_limit: TimeLimit | None = None,
    ) -> None:
        """Open a session; nothing is written before the first log line or checkpoint.

        `launch` has to follow where a method learns, or several processes share the work.

        Args:
            run: the run's folder.
            seed: the entry's seed.
            device: torch's name of a device, such as `cpu`, `cuda` or `cuda:1`.
            processes: so many share every batch, on as many GPUs; the first one writes. Those that
                `torchrun` started are as many as it started.
            precision: the `train.precision` of the config.
            resume: go on from the run's checkpoint, if it has one; else the log begins anew.
            progress: told of every `log`.
            on_save: called after each checkpoint; its time is not counted.
            find_weights: the file of weights made elsewhere, of its name in the config.
            time_limit: the judge's time for an image.
        """
        self.seed, self.time_limit = seed, time_limit
        self._run, self._resume, self._progress = run, resume, progress
        self._on_save, self._find_weights = on_save, find_weights
        self._device, self._precision = device, precision
        self._seat = torchrun.seat()
        self._processes = self._seat.count if self._seat else processes
        self._others: Processes | None = None
        self._peers: Peers | None = None
        self._log_begun = resume
        self._stop = False
        self.stopped_by: int | None = None
        """The number of the signal that asked to stop, if one did."""
        self._began, self._before, self._aside = time.monotonic(), 0.0, 0.0

    def launch(self, facts: Mapping[str, str] | None = None) -> None:
        """Start the other processes, where there are several; call it once, before any writes.

        The command is started once more for each of them, here or by `torchrun`. They come to this
        line as well, and all find each other here.

        Args:
            facts: what those that `torchrun` started have to see alike, by its name.

        Raises:
            UserError: one of them does not come, or sees something else.
            SystemExit: it is not for this process to say so.
        """
        if self._processes == 1:
            return
        backend = "nccl" if self._device.startswith("cuda") else "gloo"
        if self._seat is not None:
            self._peers = Peers(self._seat)
            self._peers.meet(backend, facts or {})
        elif others.are_there(self._processes):
            others.come(backend)
        else:
            self._others = Processes(self._processes)
            try:
                self._others.meet(backend)
            except BaseException:
                self._others.end()
                raise
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
        from lightning_fabric.plugins.environments import (
            LightningEnvironment,
            TorchElasticEnvironment,
        )

        from challenge.methods.training.mixed_precision import plugin
        from challenge.methods.training.precision import for_fabric

        device = torch.device(self._device)
        for name in ("lightning_fabric", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        several = self._processes > 1
        here = self._seat.local_count if self._seat else self._processes
        if device.type == "cuda":
            # The same numbers again when a run is resumed.
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False
        return Fabric(
            accelerator=device.type,
            devices=here if device.type == "cpu" or several else [device.index or 0],
            num_nodes=self._processes // here,
            # A method may leave out some parameters for a while: no process waits for these.
            strategy="ddp_find_unused_parameters_true" if several else "auto",
            plugins=[
                plugin(for_fabric(self._precision, device), device),
                TorchElasticEnvironment() if several and self._seat else LightningEnvironment(),
            ],
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
            # A terminal that was closed is no reason to lose a training.
            with suppress(OSError):
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
        if self._on_save is not None and not self._stop:
            began = time.monotonic()
            self._on_save(tensors)
            self._aside += time.monotonic() - began

    def load_weights(self, module: nn.Module, file: str, *, partly: bool = False) -> None:
        """Put weights that were made elsewhere into a module of a method; see `methods.contract`.

        Raises:
            UserError: the challenge or the config forbids them, there is no such file, or it does
                not fit.
        """
        if self._find_weights is None:
            raise UserError.of(f"`{file}`", "has no folder to be looked up in", "name a config")
        pretrained.load(module, self._find_weights(file), partly=partly)

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
            # The first process says why. Its exit code counts, but torchrun counts on each node.
            raise SystemExit(0 if self._peers is None else 1)

    def close(self) -> None:
        """Wait for the other processes and part from them; all of them have to.

        So none leaves while another still writes or waits for it.
        """
        if self._processes > 1:
            import torch.distributed

            self.fabric.barrier()
            torch.distributed.destroy_process_group()
        if self._others is not None:
            self._others.part()

    def abandon(self, error: BaseException) -> UserError | None:
        """End the other processes, which would wait for this one for ever.

        Args:
            error: why; the first process is told of it by another one that fails alone.

        Returns:
            The mistake of another process, if this one failed because of it and has to say so.
        """
        if self._processes == 1:
            return None
        import torch.distributed

        cause = None
        if self._peers is not None:
            cause = self._peers.abandon(error, of_another=of_another(error))
        elif not self.writes:
            others.say_why(error)
        elif self._others is not None:
            if of_another(error):
                cause = self._others.failure()
            self._others.end()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        return cause

    @property
    def seconds(self) -> float:
        """Of training so far, with those before the checkpoint that was restored, without pictures.

        What a kill threw away is trained once more and counts once, as in the log.
        """
        return self._before + time.monotonic() - self._began - self._aside

    def request_stop(self, signal: int | None = None) -> None:
        """Ask the method to save and return; safe to call from a signal handler.

        Args:
            signal: by which it was asked.
        """
        self._stop, self.stopped_by = True, signal

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


def of_another(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    words = ("gloo", "Gloo", "Connection closed", "Connection reset", "NCCL", "ProcessGroup")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
