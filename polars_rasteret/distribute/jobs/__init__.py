"""How does each part become one file in the folder of the answer, whole, once, and never of another query?

`job_files`, `manifest`     the folder of the answer, and what lies beside it
`job`                       which parts are missing, and of which query
`one_part`, `budget_shares` a part becomes a file, for its share of the budget
`tasks`, `part_results`     what a task carries to a worker, and what comes back
"""
