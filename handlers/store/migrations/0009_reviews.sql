-- Rules that have yet to look at the fleet as it is: new ones, changed ones, and those that are gone.
CREATE TABLE rule_reviews (
    tenant   text COLLATE "C" NOT NULL,
    rule     uuid NOT NULL,
    -- Another with each change of the rule: a review of what it was before ends nothing.
    revision uuid NOT NULL,
    -- Devices up to this one were looked at; null at the beginning.
    after    text COLLATE "C",
    PRIMARY KEY (tenant, rule)
);

-- What has fired because a device is absent is an alarm now.
ALTER TABLE devices DROP COLUMN absences;
