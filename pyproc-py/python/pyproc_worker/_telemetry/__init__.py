"""What a worker reports to its client: log records, printed lines and metrics.

`records` chooses the client that gets a record, and counts the records that were lost.

What must stay true: reporting never blocks a function, never raises, and keeps a bounded amount
of memory. Nothing here is loaded until a client or the script asks for it.
"""
