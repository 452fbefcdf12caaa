#!/usr/bin/env python3
"""`vlorp bench`: what it reports, and the operations it counts against a count of its own.
Run by CTest: test_bench.py VLORP; the repository's root is the working directory."""
import json

from program import ProgramTest, main, run

# share/tiny: layers, width, query and key-value width, feed-forward width, vocabulary
L, D, Q, KV, F, V = 4, 128, 128, 64, 384, 257
LAYER = [(Q, D), (KV, D), (KV, D), (D, Q), (F, D), (F, D), (D, F)]
BATCH, LENGTH, BUDGET = 3, 40, 16


def bench(*words):
    code, out, err = run("bench", *words, "--json", "--repeats", "1", "--threads", "1")
    if code != 0:
        raise AssertionError(err.decode())
    return json.loads(out)


def step(*words):
    return bench("step", "share/tiny/config.json", "--batch_size", str(BATCH), "--max_length", str(LENGTH),
                 "--budget", str(BUDGET), *words)


class Bench(ProgramTest):
    def test_step_counts_operations(self):
        tokens, targets = BATCH * LENGTH, BATCH * (LENGTH - 1)
        weights = L * sum(n * m for n, m in LAYER)
        product = 2 * BATCH * LENGTH * (LENGTH + 1) // 2 * Q * L  # one causal product of all heads and layers
        c, r = BUDGET, 1  # every width is a multiple of 16
        projected = L * sum(2 * tokens * min(n, m) * r + 2 * tokens * max(n, m) * c * r for n, m in LAYER)
        result = step("--no_activation_checkpointing")
        flops = {name: part["flops"] for name, part in result["phases"].items()}
        self.assertEqual(flops["forward"], 2 * tokens * weights + 2 * product)
        self.assertEqual(flops["backward"], 2 * tokens * weights + 5 * product)
        self.assertEqual(flops["head"], 4 * targets * V * D)
        self.assertEqual(flops["gradients"], projected + 2 * targets * V * D + D * tokens)
        self.assertEqual(flops["recompute"], 0)
        self.assertEqual((result["tokens"], result["targets"]), (tokens, targets))
        again = step("--activation_checkpointing")["phases"]["recompute"]["flops"]
        self.assertEqual(again, 2 * tokens * (weights - L * D * F) + 2 * product)
        full = step("--optimizer", "adamw", "--no_activation_checkpointing")["phases"]["gradients"]["flops"]
        self.assertEqual(full, 2 * tokens * weights + 2 * targets * V * D + D * tokens)

    def test_step_parts_make_the_whole(self):
        phases = {name: part["seconds"] for name, part in step("--activation_checkpointing")["phases"].items()}
        whole = phases.pop("whole step")
        self.assertTrue(all(seconds >= 0 for seconds in phases.values()), phases)
        self.assertLessEqual(sum(phases.values()), whole * 1.001)
        self.assertGreater(sum(phases.values()), 0.5 * whole)

    def test_optimizer(self):
        result = bench("optimizer", "share/tiny/config.json", "--budget", str(BUDGET), "--dtype", "bfloat16")
        exact = V * D + (2 * L + 1) * D  # embedding and norms: weight in bf16, G, m and v
        weights = L * sum(n * m for n, m in LAYER)
        state = L * sum(max(n, m) * BUDGET for n, m in LAYER)
        self.assertEqual(result["touched_bytes"], 2 * weights + 2 * 4 * state + (2 + 12) * exact)
        self.assertAlmostEqual(result["ratio"], result["seconds"] / result["copy_seconds"])

    def test_kernels(self):
        result = bench("kernels", "share/tiny/config.json", "--micro_tokens", "32")
        self.assertGreater(result["machine"]["fma_flops"], 0)
        self.assertGreater(result["machine"]["copy_bytes_per_second"], 0)
        names = [row["op"] for row in result["rows"]]
        # q and o are of one shape
        self.assertEqual(names, ["forward", "dX", "S"] * 5 + ["attention forward", "attention backward"])
        self.assertTrue(all(row["ours_f32"] > 0 for row in result["rows"]), result["rows"])

    def test_mistakes(self):
        self.refuses(2, ["bench"], "nothing was named", "vlorp bench kernels")
        self.refuses(2, ["bench", "speed"], "'speed' is not one of kernels, step, optimizer")
        self.refuses(2, ["bench", "step"], "model")
        self.refuses(1, ["bench", "step", "/nowhere"], "/nowhere")


if __name__ == "__main__":
    main()
