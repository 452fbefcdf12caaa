#!/usr/bin/env python3
"""At the published learning rate bfloat16 weights with stochastic rounding learn as fp32 ones do; rounded to nearest
they lose most of it.  Run by CTest: test_rounding.py VLORP."""
import json

from program import DATA, STORIES, ProgramTest, main, run


class Rounding(ProgramTest):
    def evals(self, *more):
        with open(f"{DATA}/text/wikitext-2/test.txt", "rb") as file:
            held = self.path("held.txt", file.read(4000))
        code, _, err = run("train", STORIES, "--dataset", f"{DATA}/text/tinyshakespeare.txt", "--eval_data", held,
                           "--max_length", "64", "--total_batch_size", "2", "--batch_size", "2", "--num_training_steps",
                           "200", "--scheduler", "constant", "--warmup_steps", "0", "--lr", "2e-5", "--save_dir",
                           self.path("run"), "--overwrite", "--quiet", *more)
        self.assertEqual(code, 0, err)
        with open(self.path("run/metrics.jsonl"), encoding="utf-8") as file:
            losses = [line["eval_loss"] for line in map(json.loads, file) if "eval_loss" in line]
        return losses[0], losses[-1]

    def test_two_hundred_steps(self):
        before, exact = self.evals("--dtype", "float32")
        fall = before - exact
        self.assertGreater(fall, 0.1)
        start, stochastic = self.evals("--dtype", "bfloat16")
        self.assertLess(abs((start - stochastic) - fall), 0.03 * fall)
        start, nearest = self.evals("--dtype", "bfloat16", "--rounding", "nearest")
        self.assertLess(start - nearest, 0.7 * fall)
        print(f"fall of the held-out loss: fp32 {fall:.4f}, stochastic {before - stochastic:.4f}, nearest "
              f"{before - nearest:.4f}")


if __name__ == "__main__":
    main()
