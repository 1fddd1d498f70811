"""`ts-template bench`: a service of this template beside others, under the same load."""
