"""Plots as Vega-Lite specifications, made with Altair: estimates with intervals, and lines.

Few kinds, so that who has read one can read all: no more ink than the numbers need, labels beside
what they name, logarithms where values span decades. Fields have fixed names, and no text of a
document becomes an expression.
"""
