"""The steps of ../train in PyTorch, for `cargo xtask bench train --peer PYTHON`.

Reads a number of steps a line, and writes a line of JSON about each step.
Eager is what a course would write, with the attention that PyTorch fuses by itself;
compiled is the same model by torch.compile, with PyTorch's fused AdamW.
On a card, bf16 is by autocast: products and attention in bf16, the rest and all weights in f32.
"""

import json
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.ln_1 = nn.LayerNorm(d_model)
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)
        self.ln_2 = nn.LayerNorm(d_model)
        self.mlp_fc = nn.Linear(d_model, 4 * d_model)
        self.mlp_proj = nn.Linear(4 * d_model, d_model)

    def forward(self, resid):
        batch, seq, d_model = resid.shape
        qkv = self.c_attn(self.ln_1(resid)).split(d_model, dim=2)
        q, k, v = (x.view(batch, seq, self.n_heads, -1).transpose(1, 2) for x in qkv)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        resid = resid + self.c_proj(z.transpose(1, 2).reshape(batch, seq, d_model))
        mlp_post = F.gelu(self.mlp_fc(self.ln_2(resid)), approximate="tanh")
        return resid + self.mlp_proj(mlp_post)


class Gpt(nn.Module):
    def __init__(self, size):
        super().__init__()
        d_model = size["d_model"]
        self.wte = nn.Embedding(size["d_vocab"], d_model)
        self.wpe = nn.Embedding(size["seq"], d_model)
        blocks = [Block(d_model, size["n_heads"]) for _ in range(size["n_layers"])]
        self.h = nn.ModuleList(blocks)
        self.ln_f = nn.LayerNorm(d_model)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        resid = self.wte(tokens) + self.wpe.weight
        for block in self.h:
            resid = block(resid)
        logits = F.linear(self.ln_f(resid), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main():
    way, size, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    device, dtype = sys.argv[4:6] if len(sys.argv) > 5 else ("cpu", "f32")
    narrow = torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16")
    settle = torch.cuda.synchronize if device == "cuda" else lambda: None
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Gpt(size).to(device)
    is_compiled = way == "compiled"
    loss_of = torch.compile(model) if is_compiled else model
    fused = True if is_compiled else None
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=fused)
    shape = (size["batch"], size["seq"])
    tokens = torch.randint(size["d_vocab"], shape, device=device)
    targets = torch.randint(size["d_vocab"], shape, device=device)
    steps = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            settle()
            begun = time.perf_counter()
            with narrow:
                loss = loss_of(tokens, targets)
            settle()
            forward = time.perf_counter()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            settle()
            backward = time.perf_counter()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            settle()
            end = time.perf_counter()
            spans = {"forward": forward - begun, "backward": backward - forward}
            spans["optimiser"] = end - backward
            lap = {name: span * 1e3 for name, span in spans.items()}
            print(json.dumps(lap | {"loss": loss.item()}), flush=True)
            steps += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    is_mac = sys.platform == "darwin"
    peak_mib = peak // (1 << 20 if is_mac else 1 << 10)
    print(json.dumps({"steps": steps, "peak_mib": peak_mib, "torch": torch.__version__}))


main()
