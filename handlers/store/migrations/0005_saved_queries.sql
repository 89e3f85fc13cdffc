-- Queries under a name.
CREATE TABLE saved_queries (
    tenant     text COLLATE "C" NOT NULL,
    -- Version 7: rises with time.
    id         uuid NOT NULL,
    name       text NOT NULL,
    query      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);
