"""Solves this folder's problem with HiGHS, without NativeTorch, and writes `expected.json`.

    pip install highspy==1.15.1        # besides what train.py needs
    python docs/examples/digits/reference.py

The problem: of all images x with 0 <= x <= 1 that the net reads as another digit than x0's own (by a
margin of 1e-6 in the outputs), which has the smallest max|x - x0|? One MIP per other digit: each ReLU
gets a binary and big-M rows whose bounds are interval arithmetic over the box.
"""

import json
import pathlib
import time

import highspy
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
MARGIN = 1e-6


def nearest(net, x0, label, other, radius):
    """The smallest radius within the box of this radius around x0 at which `other` beats `label`, and x there."""
    first, second = net[0], net[2]
    w1, b1, w2, b2 = (
        p.detach().double().numpy() for p in (first.weight, first.bias, second.weight, second.bias)
    )
    low, high = np.maximum(0, x0 - radius), np.minimum(1, x0 + radius)
    up, down = np.maximum(w1, 0), np.minimum(w1, 0)
    lower, upper = up @ low + down @ high + b1, up @ high + down @ low + b1

    h = highspy.Highs()
    h.silent()
    h.setOptionValue("mip_rel_gap", 0.0)
    h.setOptionValue("mip_abs_gap", 1e-10)
    h.setOptionValue("mip_feasibility_tolerance", 1e-9)
    h.setOptionValue("primal_feasibility_tolerance", 1e-9)
    x = [h.addVariable(float(l), float(u)) for l, u in zip(low, high)]
    t = h.addVariable(0.0, float(radius), obj=1.0)
    for xi, value in zip(x, x0):
        h.addConstr(xi - t <= float(value))
        h.addConstr(xi + t >= float(value))
    score = 0
    for i in range(len(b1)):
        if upper[i] <= 0:
            continue
        gain = float(w2[other, i] - w2[label, i])
        z = sum(float(w) * xi for w, xi in zip(w1[i], x) if w != 0) + float(b1[i])
        a = h.addVariable(0.0, float(upper[i]))
        if lower[i] >= 0:
            h.addConstr(a == z)
        else:
            on = h.addBinary()
            h.addConstr(a >= z)
            h.addConstr(a <= z - float(lower[i]) * (1 - on))
            h.addConstr(a <= float(upper[i]) * on)
        score = score + gain * a
    h.addConstr(score >= float(b2[label] - b2[other] + MARGIN))
    h.run()
    nodes = h.getInfo().mip_node_count
    if h.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return np.inf, None, nodes
    assert h.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return h.getInfo().objective_function_value, np.array(h.getSolution().col_value[:64]), nodes


def main():
    net = torch.load(HERE / "digits.pt", weights_only=False).eval()
    x0 = np.array(json.loads((HERE / "image.json").read_text()))
    label = int(net(torch.tensor(x0, dtype=torch.float32)).argmax())
    for radius in (0.2, 1.0):
        start = time.time()
        found = {o: nearest(net, x0, label, o, radius) for o in range(10) if o != label}
        other = min(found, key=lambda o: found[o][0])
        best, x, _ = found[other]
        print(
            f"box {radius}: radius {best!r} to digit {other}, {time.time() - start:.2f} s, nodes",
            [found[o][2] for o in found],
        )
        with torch.no_grad():
            y = net.double()(torch.tensor(x))
        print("  outputs there:", [round(v, 6) for v in y.tolist()])
    expected = {
        "label": label,
        "margin": MARGIN,
        "radius": best,
        "other_digit": other,
        "per_digit": {str(o): found[o][0] for o in found},
        "solver": f"HiGHS {highspy.Highs().version()}, box [0, 1], one MIP per digit",
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
