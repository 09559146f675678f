#!/usr/bin/env python3
"""Turns a nanoGPT training checkpoint into TorchScript that gives logits at every position.

    export_torchscript.py CHECKPOINT OUTPUT [--dtype float32]

The module's forward takes token ids [B, T] int64, T up to the block size, and returns logits [B, T, V]; it runs on any
device and, after .to(dtype), in float32, float16 and bfloat16. The checkpoint's model_args and config travel along as
the extra files model_args.json and config.json. Needs only PyTorch, 1.13 or 2.x; files of either load in the other.

Exit codes: 0 done, 2 bad usage, 3 the checkpoint is missing or unusable, 4 the export itself failed.
"""
import argparse
import collections
import io
import json
import math
import os
import pickle
import struct
import sys
import tempfile
import zipfile

import torch
import torch.nn.functional as F
from torch import nn

BAD_INPUT, FAILED = 3, 4
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# What torch.compile, DataParallel and training code that keeps the model in an attribute put before every name.
WRAPPER_PREFIXES = ("_orig_mod.", "module.", "model.")

# As demask reads model_args (src/checkpoint/model_args.cpp): what it takes, what does not change what a model computes,
# and what forks of nanoGPT vary, of which this tool, too, knows one value.
READ_KEYS = {"n_layer", "n_head", "n_embd", "block_size", "vocab_size", "bias", "attention_type", "position_encoding",
             "binary_classification", "mask_token_id"}
KEYS_WITHOUT_EFFECT = {
    "dropout", "dropout_rate", "dropout_p", "attn_dropout", "attn_pdrop", "resid_dropout", "resid_pdrop",
    "embd_dropout", "embd_pdrop", "mlp_dropout", "device", "dtype", "compile", "flash", "flash_attn", "use_flash",
    "use_flash_attention", "gradient_checkpointing", "init_std", "initializer_range", "label_smoothing",
    "ignore_index", "learning_rate", "weight_decay", "tie_weights", "weight_tying", "tie_word_embeddings"}


def computed_values(args):
    """The values of such variations that are what the model below computes, by key."""
    head_width = args["n_embd"] // args["n_head"]
    causal = args.get("attention_type", "causal") == "causal"
    rotary = args.get("position_encoding") == "rotary"
    off = (None, False, 0, -1)
    groups = {
        ("rope_theta", "rope_base", "rotary_base", "rotary_theta"): (10000,),
        ("n_kv_head", "n_kv_heads", "num_kv_heads", "num_key_value_heads", "n_query_groups"): (None, args["n_head"]),
        ("head_dim", "head_size"): (None, head_width),
        ("n_inner", "d_ff", "ffn_dim", "intermediate_size"): (None, 4 * args["n_embd"]),
        ("mlp_ratio", "ffn_mult"): (4,),
        ("norm_eps", "layer_norm_eps", "layer_norm_epsilon", "ln_eps"): (1e-5,),
        ("rotary_pct", "rope_pct", "partial_rotary_factor"): (1,),
        ("padded_vocab_size",): (None, args["vocab_size"]),
        ("causal", "is_causal"): (causal,),
        ("rope", "use_rope", "use_rotary"): (rotary,),
        ("act", "act_fn", "activation", "hidden_act"): ("gelu",),
        ("norm", "norm_type"): ("layernorm", "layer_norm", "LayerNorm"),
        ("softcap", "logit_softcap", "logits_softcap", "attn_softcap", "attn_logit_softcapping", "final_logit_softcap",
         "final_logit_softcapping", "sliding_window", "window_size", "attention_window", "rope_scaling", "qk_norm",
         "use_qk_norm", "rms_norm", "use_rmsnorm", "swiglu", "use_swiglu", "alibi", "parallel_residual", "moe",
         "use_moe", "n_experts", "num_experts"): off,
    }
    return {key: values for keys, values in groups.items() for key in keys}


class ExportError(Exception):
    """A message for the user and the exit code that goes with it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


# ---- The model: nanoGPT's architecture and parameter names, restricted to what TorchScript can express. ----


class LayerNorm(nn.Module):
    def __init__(self, width: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotates the pairs (i, i + d/2) of x [B, H, T, d], as GPT-NeoX does; cosine and sine are [T, d/2]."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool, causal: bool, rotary: bool):
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.rotary = rotary
        self.scale = 1.0 / math.sqrt(width // heads)
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)

    def forward(
        self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        batch, length, width = x.shape
        # [B, T, 3C] -> [3, B, H, T, d]
        qkv = self.c_attn(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        if self.rotary:
            query = rotate(query, cosine, sine)
            key = rotate(key, cosine, sine)
        # Products and a softmax, not scaled_dot_product_attention, which PyTorch 1.13 does not have.
        scores = (query * self.scale) @ key.transpose(-2, -1)
        if self.causal:
            scores = scores.masked_fill(hidden, float("-inf"))
        mixed = F.softmax(scores, dim=-1) @ value
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class MLP(nn.Module):
    def __init__(self, width: int, bias: bool):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool, causal: bool, rotary: bool):
        super().__init__()
        self.ln_1 = LayerNorm(width, bias)
        self.attn = Attention(width, heads, bias, causal, rotary)
        self.ln_2 = LayerNorm(width, bias)
        self.mlp = MLP(width, bias)

    def forward(
        self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x), cosine, sine, hidden)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, args: dict, bias: bool, causal: bool, rotary: bool):
        super().__init__()
        width, heads = args["n_embd"], args["n_head"]
        self.rotary = rotary
        self.rotated = width // heads
        self.wte = nn.Embedding(args["vocab_size"], width)
        # A rotary model has no position table; an empty module keeps the attribute scriptable.
        self.wpe = nn.Identity() if rotary else nn.Embedding(args["block_size"], width)
        self.h = nn.ModuleList([Block(width, heads, bias, causal, rotary) for _ in range(args["n_layer"])])
        self.ln_f = LayerNorm(width, bias)

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        # Everything derives from idx.device: a device written into the graph would bind the module to it.
        positions = torch.arange(idx.size(1), device=idx.device)
        hidden = positions.unsqueeze(0) > positions.unsqueeze(1)
        x = self.wte(idx)
        # Angles in float32: bfloat16 cannot even tell position 256 from 257.
        exponents = torch.arange(0, self.rotated, 2, dtype=torch.float32, device=idx.device) / self.rotated
        angles = positions.to(torch.float32).unsqueeze(1) * torch.pow(10000.0, -exponents)
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        if not self.rotary:
            x = x + self.wpe(positions)
        for block in self.h:
            x = block(x, cosine, sine, hidden)
        return self.ln_f(x)


class GPT(nn.Module):
    def __init__(self, args: dict, bias: bool, causal: bool, rotary: bool, tied: bool):
        super().__init__()
        self.transformer = Transformer(args, bias, causal, rotary)
        outputs = 2 if args.get("binary_classification") else args["vocab_size"]
        self.lm_head = nn.Linear(args["n_embd"], outputs, bias=False)
        if tied:
            self.lm_head.weight = self.transformer.wte.weight

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        return self.lm_head(self.transformer(idx))


# ---- Reading a checkpoint without running what is in it. ----


class Opaque:
    """Stands for an object of any class that a checkpoint may hold and the export has no use for."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


class NumpyDtype:
    """numpy.dtype('i8', False, True), with the byte order that its state tells."""

    def __init__(self, name, *_):
        self.name, self.order = name, "="

    def __setstate__(self, state):
        self.order = state[1]


def numpy_scalar(dtype, data):
    """numpy.core.multiarray.scalar for booleans, integers, floats and texts, without NumPy."""
    kind, width = dtype.name[0], int(dtype.name[1:])
    order = "big" if dtype.order == ">" else "little"
    if kind == "b":
        return data != bytes(width)
    if kind in "iu":
        return int.from_bytes(data, order, signed=kind == "i")
    if kind == "f" and width in (2, 4, 8):
        return struct.unpack((">" if order == "big" else "<") + {2: "e", 4: "f", 8: "d"}[width], data)[0]
    if kind == "U":
        return data.decode("utf-32-be" if order == "big" else "utf-32-le").rstrip("\0")
    return Opaque()


def tensor_of(storage, offset, size, stride, *_):
    """torch._utils._rebuild_tensor_v2; as_strided checks that the view lies inside the storage."""
    return storage.as_strided(size, stride, offset)


class CheckpointUnpickler(pickle.Unpickler):
    """Makes tensors and plain containers; every other class becomes Opaque, so no code of the file's choice runs.

    Not torch.load: 1.13's weights_only stops at the first float, nanoGPT's config is full of them, and without
    weights_only it replaces any pickle_module it is given by pickle itself, which runs whatever the file says.
    """

    CLASSES = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("numpy", "dtype"): NumpyDtype,
        ("numpy.core.multiarray", "scalar"): numpy_scalar,
        ("numpy._core.multiarray", "scalar"): numpy_scalar,
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),  # how protocol 2 writes bytes
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor_v2"): tensor_of,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("torch", "DoubleStorage"): torch.float64,
        ("torch", "FloatStorage"): torch.float32,
        ("torch", "HalfStorage"): torch.float16,
        ("torch", "BFloat16Storage"): torch.bfloat16,
        ("torch", "LongStorage"): torch.int64,
        ("torch", "IntStorage"): torch.int32,
        ("torch", "ShortStorage"): torch.int16,
        ("torch", "CharStorage"): torch.int8,
        ("torch", "ByteStorage"): torch.uint8,
        ("torch", "BoolStorage"): torch.bool,
    }

    def __init__(self, archive, folder):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive = archive
        self.folder = folder
        self.storages = {}

    def find_class(self, module, name):
        return self.CLASSES.get((module, name), Opaque)

    def persistent_load(self, reference):
        _, dtype, key, _, _ = reference  # ('storage', type, record, device, element count)
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.folder}/data/{key}"))
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]


def read_checkpoint(path):
    if not os.path.isfile(path):
        raise ExportError(BAD_INPUT, f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ExportError(BAD_INPUT, f"{path}: not a checkpoint written by torch.save of PyTorch 1.6 or later")
    try:
        with zipfile.ZipFile(path) as archive:
            folder = archive.namelist()[0].split("/")[0]
            if f"{folder}/constants.pkl" in archive.namelist():
                raise ExportError(BAD_INPUT, f"{path}: already TorchScript; a training checkpoint is needed")
            checkpoint = CheckpointUnpickler(archive, folder).load()
    except ExportError:
        raise
    except Exception as error:  # a damaged archive or pickle can fail in any way
        raise ExportError(BAD_INPUT, f"{path}: unreadable checkpoint ({type(error).__name__}: {error})") from error
    for key in ("model", "model_args"):
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
            raise ExportError(BAD_INPUT, f"{path}: no dictionary '{key}'; not a nanoGPT training checkpoint")
    return checkpoint


def checked_args(path, args):
    for key in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size"):
        if type(args.get(key)) is not int or args[key] < 1:
            raise ExportError(BAD_INPUT, f"{path}: model_args['{key}'] is {args.get(key)!r}, not a positive int")
    if args["n_embd"] % args["n_head"]:
        raise ExportError(BAD_INPUT, f"{path}: n_embd {args['n_embd']} is not a multiple of n_head {args['n_head']}")
    choices = {"attention_type": ("causal", "bidirectional"), "position_encoding": ("absolute", "rotary")}
    for key, allowed in choices.items():  # the first is nanoGPT's default
        if args.get(key, allowed[0]) not in allowed:
            raise ExportError(BAD_INPUT, f"{path}: model_args['{key}'] is {args[key]!r}, not one of {allowed}")
    computed = computed_values(args)
    for key in args:
        if key in READ_KEYS or key in KEYS_WITHOUT_EFFECT:
            continue
        if key not in computed:
            raise ExportError(BAD_INPUT, f"{path}: model_args['{key}'] is {args[key]!r}, and this tool does not know "
                                         "what it changes in the model; script the model of the code that trained it")
        if args[key] not in computed[key]:
            raise ExportError(BAD_INPUT, f"{path}: model_args['{key}'] is {args[key]!r}, and this tool knows only "
                                         f"{computed[key]}; script the model of the code that trained it")
    if args.get("position_encoding") == "rotary" and args["n_embd"] // args["n_head"] % 2:
        raise ExportError(BAD_INPUT, f"{path}: rotary positions need an even n_embd / n_head")
    return args


def parameters_of(path, state):
    """The state dict without the prefixes of wrappers, nanoGPT's causal-mask buffers and an average's counter."""
    state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    stripped = True
    while stripped and state:
        stripped = next((prefix for prefix in WRAPPER_PREFIXES if all(name.startswith(prefix) for name in state)), "")
        state = {name[len(stripped):]: tensor for name, tensor in state.items()}
    parameters = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        if not isinstance(tensor, torch.Tensor):
            raise ExportError(BAD_INPUT, f"{path}: '{name}' in the state dict is not a tensor")
        parameters[name] = tensor
    if "transformer.wte.weight" not in parameters:
        raise ExportError(BAD_INPUT, f"{path}: no 'transformer.wte.weight' in the state dict; not nanoGPT's model")
    return parameters


def build_model(path, checkpoint):
    args = checked_args(path, checkpoint["model_args"])
    parameters = parameters_of(path, checkpoint["model"])
    embedding = parameters["transformer.wte.weight"]
    head = parameters.setdefault("lm_head.weight", embedding)
    tied = head.data_ptr() == embedding.data_ptr() and head.shape == embedding.shape
    model = GPT(
        args,
        bias="transformer.ln_f.bias" in parameters,
        causal=args.get("attention_type", "causal") == "causal",
        rotary=args.get("position_encoding", "absolute") == "rotary",
        tied=tied,
    )
    dtype = embedding.dtype
    for tensor in parameters.values():
        dtype = torch.promote_types(dtype, tensor.dtype)
    model = model.to(dtype)
    try:
        model.load_state_dict(parameters)
    except RuntimeError as error:  # lists every missing, unexpected and misshapen tensor
        raise ExportError(BAD_INPUT, f"{path}: {error}") from error
    return model.eval()


# ---- Writing. ----


def plain(value):
    """What of a configuration JSON can hold; None for anything else."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str)) else None


def verify(model, path, args):
    """Compares the file at `path` with the eager model, in float32, which every CPU build of PyTorch can run."""
    scripted = torch.jit.load(path, map_location="cpu").float()
    model = model.float()
    generator = torch.Generator().manual_seed(1)
    for length in (args["block_size"], (args["block_size"] + 1) // 2):
        idx = torch.randint(args["vocab_size"], (2, length), generator=generator)
        with torch.no_grad():
            expected, actual = model(idx), scripted(idx)
        if actual.shape != expected.shape or not torch.allclose(actual, expected, rtol=1e-4, atol=1e-4):
            raise ExportError(FAILED, f"the exported module disagrees with the model at length {length}")


def export(checkpoint_path, output_path, dtype):
    if os.path.exists(output_path) and not os.path.isfile(output_path):
        raise ExportError(FAILED, f"{output_path}: exists and is not a regular file; it would be replaced")
    checkpoint = read_checkpoint(checkpoint_path)
    model = build_model(checkpoint_path, checkpoint)
    if dtype is not None:
        model = model.to(dtype)
    config = checkpoint.get("config")
    extra = {
        "model_args.json": json.dumps(plain(checkpoint["model_args"])),
        "config.json": json.dumps(plain(config) if isinstance(config, dict) else {}),
    }
    # By way of memory: PyTorch's own file writer ends the process when the disk is full.
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(model), scripted, _extra_files=extra)
    folder = os.path.dirname(os.path.abspath(output_path))
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
            temporary = os.path.join(scratch, "module.pt")
            with open(temporary, "wb") as file:
                file.write(scripted.getbuffer())
            verify(model, temporary, checkpoint["model_args"])
            os.replace(temporary, output_path)
    except OSError as error:
        raise ExportError(FAILED, f"{output_path}: cannot be written ({error.strerror})") from error


def main():
    parser = argparse.ArgumentParser(description="Turn a nanoGPT training checkpoint into TorchScript.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="training checkpoint, as torch.save wrote it")
    parser.add_argument("output", metavar="OUTPUT", help="TorchScript file to write")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="store weights so (default: as in the checkpoint)")
    options = parser.parse_args()
    try:
        export(options.checkpoint, options.output, DTYPES.get(options.dtype))
    except ExportError as error:
        print(f"export_torchscript: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
