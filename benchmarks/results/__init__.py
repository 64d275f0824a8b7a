"""The results that are kept: experiments, their records, tables and figures made of them."""
