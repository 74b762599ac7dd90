"""What an operator's Prometheus is told (PROTOCOL section 7).

Everything is collected by wrappers around the parts, which the composition root
puts there only if somebody wants metrics. No label depends on what clients send.
"""
