-- No plan depends on which devices there are, only on about how many. Each sample of a table reads 30,000 of its pages:
-- after each fifth that changes, that took a thirtieth of the processor while a fleet reports.
ALTER TABLE devices SET (autovacuum_analyze_scale_factor = 10);
