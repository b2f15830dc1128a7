-- +goose Up

-- For the look, every second, whether anything is due.
CREATE INDEX job_when ON job (run_at) WHERE state IN ('waiting', 'parked');
