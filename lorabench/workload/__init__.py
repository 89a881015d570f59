"""What arrives: workload specs, generated or given rows, the on-disk store.

Nothing here knows a model, a server or a clock: a workload is a stream of labelled, timestamped
rows (`lorabench.workload.block.Block`), the same for everyone who asks for it again.
"""
