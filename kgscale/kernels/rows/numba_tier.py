"""Row-wise optimiser steps on the CPU: one pass over each touched row."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch

AHEAD = 3
"""Rows between asking for a row and reading it."""
LINE = 16
"""Numbers of float32 in a cache line."""


@compiled
@typing.no_type_check
def adagrad(weight, state, ids, grad, lr, eps, start, stop):
    dim = grad.shape[1]
    for k in range(start, stop):
        i = ids[k]
        soon = ids[min(k + AHEAD, stop - 1)] * dim
        for f in range(0, dim + LINE, LINE):
            prefetch(weight, soon + min(f, dim - 1))
            prefetch(state, soon + min(f, dim - 1))
        for f in range(dim):
            g = grad[k, f]
            total = state[i, f] + g * g
            state[i, f] = total
            weight[i, f] -= lr * g / (np.sqrt(total) + eps)


@compiled
@typing.no_type_check
def adam(weight, first, second, step, ids, grad, lr, beta, gamma, eps, start, stop):
    dim, one = grad.shape[1], np.float32(1)
    keep, take = np.float32(beta), np.float32(1 - beta)
    keep_square, take_square = np.float32(gamma), np.float32(1 - gamma)
    for k in range(start, stop):
        i = ids[k]
        soon = ids[min(k + AHEAD, stop - 1)] * dim
        for f in range(0, dim + LINE, LINE):
            prefetch(weight, soon + min(f, dim - 1))
            prefetch(first, soon + min(f, dim - 1))
            prefetch(second, soon + min(f, dim - 1))
        step[i] += 1
        mean_scale = np.float32(1 / (1 - beta ** step[i]))
        square_scale = np.float32(1 / (1 - gamma ** step[i]))
        for f in range(dim):
            g = grad[k, f]
            mean = keep * first[i, f] + take * g
            square = keep_square * second[i, f] + take_square * g * g
            first[i, f] = mean
            second[i, f] = square
            denominator = np.sqrt(square * square_scale) + eps
            weight[i, f] -= lr * mean * mean_scale * (one / denominator)


@compiled
@typing.no_type_check
def sum_runs(out, grad, order, begin, start, stop):
    """Row ``k`` of ``out`` is the sum of ``grad`` over ``order[begin[k]:begin[k + 1]]``."""
    for k in range(start, stop):
        for f in range(grad.shape[1]):
            out[k, f] = grad[order[begin[k]], f]
        for position in range(begin[k] + 1, begin[k + 1]):
            for f in range(grad.shape[1]):
                out[k, f] += grad[order[position], f]
